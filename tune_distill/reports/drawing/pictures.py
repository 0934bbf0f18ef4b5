"""Figures as files, for documents and for print. A figure always becomes the same bytes."""

from __future__ import annotations

import base64
import functools
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tune_distill.records.files import atomic_file
from tune_distill.reports.drawing.charts import printed
from tune_distill.reports.drawing.panels import Figure

# Identifiers of XML namespaces look like addresses too, but nothing is fetched from them.
_ADDRESS = re.compile(r"https?://(?!www\.w3\.org/)[^\s\"'`<>()]+")


def save(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write `<name>.png` and `<name>.svg` of each figure into the folder.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not figures:
        return []
    made = json.loads(_run("pictures", json.dumps([printed(figure) for figure in figures])))
    paths = []
    for figure, picture in zip(figures, made, strict=True):
        for suffix, content in (
            ("png", base64.b64decode(picture["png"])),
            ("svg", picture["svg"].encode()),
        ):
            paths.append(folder / f"{figure.name}.{suffix}")
            with atomic_file(paths[-1]) as temporary:
                temporary.write_bytes(content)
    return paths


@functools.cache
def chart_library() -> str:
    """Return the JavaScript that defines `vegaEmbed`, without any network address."""
    library = _ADDRESS.sub("", _run("library"))
    # Wrap the bundle in a function, because its top-level names would be global in the page.
    return f"(function(){{{library}}})();"


def _run(what: str, given: str = "") -> str:
    return subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("vega.py"), what],
        check=True,
        input=given,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        # Ctrl-C must reach only the command, which then ends in its own way.
        start_new_session=True,
    ).stdout
