"""Output of vl_convert, written if this file runs as a script: `library` or `pictures`.

`library` is the JavaScript that draws charts in the browser. `pictures` reads a list of Vega-Lite
specifications as JSON, and writes a list of `{"svg": text, "png": base64}`.

It runs in a separate process, because it would block all threads for a second and keep memory.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from typing import Any

import vl_convert

SCALE = 2.5
"""Pixels of a PNG per pixel of the chart: 200 dots an inch if letters have 9 points."""


def picture(spec: dict[str, Any]) -> dict[str, str]:
    """Return the chart as SVG and as PNG in base64."""
    made = vl_convert.vegalite_to_vega(spec)
    place_labels(made, made["usermeta"]["labels"])
    svg = vl_convert.vega_to_svg(made)
    png = repacked(vl_convert.svg_to_png(svg, scale=SCALE))
    return {"svg": svg, "png": base64.b64encode(png).decode()}


def place_labels(group: dict[str, Any], places: dict[str, Any]) -> None:
    """Let Vega place the texts of `labels` layers, which Vega-Lite cannot express."""
    for mark in group.get("marks", []):
        place_labels(mark, places)
        if mark.get("name", "").startswith("labels"):
            size = [group["encode"]["update"][side] for side in ("width", "height")]
            mark["transform"] = [{"type": "label", "size": size, **places}]


def repacked(png: bytes) -> bytes:
    """Return the same pixels in a quarter of the bytes, because vl_convert compresses little."""
    chunks: list[tuple[bytes, bytes]] = []
    place = 8
    while place < len(png):
        size, kind = struct.unpack_from(">I4s", png, place)
        chunks.append((kind, png[place + 8 : place + 8 + size]))
        place += size + 12
    packed = zlib.compress(zlib.decompress(b"".join(b for kind, b in chunks if kind == b"IDAT")))
    kept = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    written = [png[:8]]
    for kind, body in (*kept, (b"IDAT", packed), (b"IEND", b"")):
        written.append(struct.pack(">I4s", len(body), kind) + body)
        written.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(written)


if __name__ == "__main__":
    if sys.argv[1] == "library":
        print(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), end="")
    else:
        print(json.dumps([picture(spec) for spec in json.load(sys.stdin)]))
