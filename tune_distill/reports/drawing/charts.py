"""Figures for the browser: Vega-Lite specifications with their data inline.

Their colours come from `theme`, so that one specification suits a light page and a dark one.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tune_distill.reports.drawing.chart_layers import (
    CHOICE,
    WIDTH,
    Spec,
    label_angle,
    rule_layer,
    rule_text_layer,
    series_layers,
    units,
)
from tune_distill.reports.drawing.geometry import names
from tune_distill.reports.drawing.palette import CELLS, DARK, LIGHT, NEUTRAL, on_cell
from tune_distill.reports.drawing.panels import Axis, Figure, Grid, Panel

HEIGHT = 260

_GREY = "#80868C"
_ROW = 22
_MOST_ROWS = 40
"""Rows of names that have their full height; where there are more, they share the room."""

# Without the key, turning the wheel scrolls the page on, also over a chart.
_ZOOM = "wheel![event.ctrlKey || event.metaKey]"

# The identifiers of XML name spaces look like addresses too, but nothing is fetched from there.
_ADDRESS = re.compile(r"https?://(?!www\.w3\.org/)[^\s\"'`<>()]+")


def chart(figure: Figure) -> Spec:
    """A Vega-Lite specification of the figure's panels; its title and caption are the page's.

    The pointer shows what a point is, a click in the legend picks series, dragging moves numeric
    axes, the wheel with Ctrl zooms them, and a double click puts them back.
    """
    listed = names(figure)
    panels = [
        _grid(panel) if isinstance(panel, Grid) else _panel(panel, place, listed, figure.shades)
        for place, panel in enumerate(figure.panels)
    ]
    _add_choice(panels)
    return {
        "description": f"{figure.title}. {figure.caption}",
        "concat": panels,
        "columns": min(len(panels), 2),
        "spacing": 28,
    }


def theme(scheme: Literal["light", "dark"]) -> Spec:
    """The Vega configuration for a page of that colour scheme."""
    dark = scheme == "dark"
    text, lines = ("#d5d9de", "#3a4048") if dark else ("#333333", "#e3e5e8")
    colours = {"labelColor": text, "titleColor": text}
    series = list(DARK if dark else LIGHT)
    return {
        "background": "transparent",
        "font": "system-ui, -apple-system, 'Segoe UI', sans-serif",
        "axis": colours
        | {
            "gridColor": lines,
            "domainColor": _GREY,
            "tickColor": _GREY,
            "labelFontSize": 11,
            "labelLimit": 240,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
        },
        "legend": colours | {"labelFontSize": 12, "gradientStrokeWidth": 0},
        "title": {
            "color": text,
            "anchor": "start",
            "frame": "group",
            "fontSize": 13,
            "fontWeight": 600,
        },
        # These read on light and dark, also where a dark page is printed.
        "text": {"color": _GREY, "fontSize": 11},
        "style": {
            "only": {"color": series[0]},
            "unnamed": {"color": NEUTRAL},
            "reference": {"color": _GREY},
        },
        "view": {"stroke": None},
        "range": {
            "category": series,
            # The palest end is lost on white paper, the darkest on a dark page.
            "ramp": {"scheme": "cividis", "extent": [0.25, 1.0] if dark else [0.0, 0.93]},
        },
    }


@functools.cache
def chart_library() -> str:
    """The JavaScript that defines `vegaEmbed`; it holds no address on the network."""
    made = subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("vega.py")],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the command, which ends in its own way.
        start_new_session=True,
    )
    library = _ADDRESS.sub("", made.stdout.decode())
    # A function of its own: the names at the top of the bundle would be global to the page.
    return f"(function(){{{library}}})();"


def _panel(panel: Panel, place: int, listed: Sequence[str], shades: tuple[str, str] | None) -> Spec:
    series = series_layers(panel, listed, shades)
    numeric = [name for name, axis in (("x", panel.x), ("y", panel.y)) if axis.scale != "category"]
    if series and numeric:
        select = {"type": "interval", "encodings": numeric, "zoom": _ZOOM}
        zoom = {"name": f"zoom_{place}", "select": select, "bind": "scales"}
        next(units(series)).setdefault("params", []).append(zoom)
    rules = [rule_layer(panel, rule) for rule in panel.rules]
    texts = [rule_text_layer(panel, rule) for rule in panel.rules if rule.text]
    nothing = (
        [] if series else [{"data": {"values": [{}]}, "mark": {"type": "text", "text": "no data"}}]
    )
    return _frame(panel) | {"layer": [*rules, *series, *texts, *nothing]}


def _grid(grid: Grid) -> Spec:
    rows = [
        {
            "x": column,
            "y": line,
            "text": grid.texts[row][place],
            "colour": _cell_colour(grid.values[row][place]),
            "ink": on_cell(grid.values[row][place]),
        }
        for row, line in enumerate(grid.y.categories)
        for place, column in enumerate(grid.x.categories)
    ]
    across = _names_axis(grid.x, label_angle(grid.x)) | {"field": "x"}
    down = _names_axis(grid.y, 0) | {"field": "y"}
    tooltip = [
        {"field": "text", "title": "title"},
        {"field": "y", "title": grid.y.label or "row"},
        {"field": "x", "title": grid.x.label or "column"},
    ]
    cells = {"mark": "rect", "encoding": {"color": _own("colour"), "tooltip": tooltip}}
    texts = {"mark": "text", "encoding": {"text": {"field": "text"}, "color": _own("ink")}}
    return _frame(grid) | {
        "data": {"values": rows},
        "encoding": {"x": across, "y": down},
        "layer": [cells, texts],
    }


def _frame(panel: Panel | Grid) -> Spec:
    """The panel's title and size."""
    rows = min(len(panel.y.categories), _MOST_ROWS) if panel.y.scale == "category" else 0
    sized: Spec = {"width": WIDTH, "height": max(HEIGHT, rows * _ROW)}
    return sized | ({"title": panel.title} if panel.title else {})


def _names_axis(axis: Axis, angle: int) -> Spec:
    style = {"title": axis.label or None, "labelAngle": angle}
    return {
        "type": "nominal",
        "sort": list(axis.categories),
        "axis": style | {"domain": False, "ticks": False},
    }


def _own(field: str) -> Spec:
    """The colour that the row itself names."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def _cell_colour(value: float) -> str:
    """The colour of a grid's cell, between the two ends; those of NaN are as at 0."""
    share = min(max(value, 0.0), 1.0) if value == value else 0.0
    low, high = ([int(end[place : place + 2], 16) for place in (1, 3, 5)] for end in CELLS)
    mixed = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def _add_choice(panels: Sequence[Spec]) -> None:
    """A click on a name in the legend picks its series, in all panels."""
    layers = (layer for panel in panels for layer in units(panel["layer"]))
    named = next((layer for layer in layers if "opacity" in layer.get("encoding", {})), None)
    if named:
        select = {"type": "point", "fields": ["name"], "toggle": "true"}
        choice = {"name": CHOICE, "select": select, "bind": "legend"}
        named.setdefault("params", []).append(choice)
