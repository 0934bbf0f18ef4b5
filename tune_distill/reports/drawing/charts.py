"""Figures as Vega-Lite specifications with their data inline, for the browser and for print.

Their colours come from `theme`, so that one specification suits a light page and a dark one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from tune_distill.reports.drawing.axes import Sheet, Spec, channel, names_width, panel_height
from tune_distill.reports.drawing.chart_layers import (
    CHOICE,
    rule_layer,
    rule_text_layer,
    series_layers,
    units,
)
from tune_distill.reports.drawing.lettering import SIZE, width, wrapped
from tune_distill.reports.drawing.looks import Looks, looks_of, with_markers
from tune_distill.reports.drawing.palette import DARK, LIGHT, NEUTRAL, cell_colour, on_cell
from tune_distill.reports.drawing.panels import Figure, Grid, Panel

_GREY = "#80868C"

# vl_convert includes Liberation Sans. Letters of Arial and Helvetica have the same widths.
_PRINT_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

_SHEETS = {
    1: Sheet(1, 420, 260, 470),
    2: Sheet(2, 260, 190, 620, names=150),
    3: Sheet(3, 165, 135, 645, names=150),
}

# Positions of texts around their points, the best first, for Vega's label transform.
_ANCHORS = ("right", "left", "top-right", "bottom-right", "top-left", "bottom-left")
_OFFSETS = (7, 12, 20)
_LABELS: Spec = {
    "anchor": list(_ANCHORS) * len(_OFFSETS),
    "offset": [offset for offset in _OFFSETS for _ in _ANCHORS],
}

# Without Ctrl (or the Meta key), the wheel scrolls the page, also over a chart.
_ZOOM = "wheel![event.ctrlKey || event.metaKey]"


def chart(figure: Figure) -> Spec:
    """Return the chart of a figure for the page, which shows the title and caption itself.

    The pointer shows what a point is, a click in the legend chooses series, dragging moves numeric
    axes, the wheel with Ctrl zooms them, and a double click resets them.
    """
    columns = min(len(figure.panels), 2)
    return _chart(figure, Sheet(columns, 420, 260, columns * 480, interactive=True))


def printed(figure: Figure) -> Spec:
    """Return the figure's chart for a file: titled, on white, in an always available font."""
    count = len(figure.panels)
    sheet = _SHEETS[1 if count == 1 else 2 if count <= 4 else 3]
    beside = max((names_width(one.y, sheet) for one in figure.panels), default=0)
    # Names reduce the width of panels, so that letters have the same size in all figures.
    sheet = replace(sheet, width=max(sheet.width - int(beside / sheet.columns), sheet.width // 2))
    title = {
        "text": wrapped(figure.title, sheet.whole, 14),
        "subtitle": wrapped(figure.caption, sheet.whole) if figure.caption else [],
        "fontSize": 14,
        "offset": 14,
    }
    look = theme("light") | {"background": "#FFFFFF", "font": _PRINT_FONT, "aria": False}
    return _chart(figure, sheet) | {"title": title, "padding": 8, "config": look}


def theme(scheme: Literal["light", "dark"]) -> Spec:
    """Return the Vega configuration for a page of this colour scheme."""
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
            "labelFontSize": SIZE,
            "titleFontSize": SIZE,
            "titleFontWeight": "normal",
        },
        "legend": colours | {"labelFontSize": SIZE, "gradientStrokeWidth": 0},
        "title": {
            "color": text,
            "subtitleColor": text,
            "anchor": "start",
            "frame": "bounds",
            "fontSize": 12,
            "fontWeight": 600,
            "subtitleFontSize": SIZE,
        },
        # These colours are legible on light and dark, also if a dark page is printed.
        "text": {"color": _GREY, "fontSize": SIZE},
        "style": {
            "only": {"color": series[0]},
            "unnamed": {"color": NEUTRAL},
            "reference": {"color": _GREY},
            "label": {"color": text},
            "halo": {
                "stroke": "#15181c" if dark else "#ffffff",
                "strokeWidth": 3,
                "strokeOpacity": 0.8,
            },
        },
        "view": {"stroke": None},
        "range": {
            "category": series,
            # The palest end is invisible on white paper, the darkest on a dark page.
            "ramp": {"scheme": "cividis", "extent": [0.25, 1.0] if dark else [0.0, 0.93]},
        },
    }


def _chart(figure: Figure, sheet: Sheet) -> Spec:
    marked = with_markers(figure)
    looks = looks_of(marked, sheet)
    panels = [
        _frame(panel, sheet)
        | (_grid(panel, sheet) if isinstance(panel, Grid) else _panel(panel, place, looks))
        for place, panel in enumerate(marked.panels)
    ]
    if sheet.interactive:
        _add_choice(panels)
    else:
        _share_names(figure.panels, panels, sheet)
    return {
        "description": f"{figure.title}. {figure.caption}",
        "concat": panels,
        "columns": sheet.columns,
        "spacing": 28,
        "usermeta": {"labels": _LABELS},
    }


def _share_names(panels: Sequence[Panel | Grid], made: Sequence[Spec], sheet: Sheet) -> None:
    """Hide names that equal those of the panel to the left, and blank the label above them."""
    for place, panel in enumerate(panels):
        if place % sheet.columns and panel.y.categories and panel.y == panels[place - 1].y:
            for unit in units(made[place]["layer"]):
                unit.get("encoding", {}).get("y", {}).get("axis", {})["labels"] = False
            title = made[place].get("title", {})
            if "subtitle" in title:
                title["subtitle"] = [""] * len(title["subtitle"])


def _panel(panel: Panel, place: int, looks: Looks) -> Spec:
    sheet = looks.sheet
    series = series_layers(panel, looks)
    numeric = [name for name, axis in (("x", panel.x), ("y", panel.y)) if axis.scale != "category"]
    if sheet.interactive and series and numeric:
        select = {"type": "interval", "encodings": numeric, "zoom": _ZOOM}
        zoom = {"name": f"zoom_{place}", "select": select, "bind": "scales"}
        next(units(series)).setdefault("params", []).append(zoom)
    rules = [rule_layer(panel, rule, sheet) for rule in panel.rules]
    texts = [rule_text_layer(panel, rule, sheet) for rule in panel.rules if rule.text]
    nothing = (
        [] if series else [{"data": {"values": [{}]}, "mark": {"type": "text", "text": "no data"}}]
    )
    return {"layer": [*rules, *series, *texts, *nothing]}


def _grid(grid: Grid, sheet: Sheet) -> Spec:
    rows = [
        {
            "x": column,
            "left": column - 0.5,
            "right": column + 0.5,
            "y": row,
            "top": row - 0.5,
            "bottom": row + 0.5,
            "x_name": grid.x.categories[column],
            "y_name": grid.y.categories[row],
            "text": text,
            "colour": cell_colour(value),
            "ink": on_cell(value),
        }
        for row, (texts, values) in enumerate(zip(grid.texts, grid.values, strict=True))
        for column, (text, value) in enumerate(zip(texts, values, strict=True))
    ]
    tooltip = [
        {"field": "text", "title": "title"},
        {"field": "y_name", "title": grid.y.label or "row"},
        {"field": "x_name", "title": grid.x.label or "column"},
    ]
    sides = {
        "x": channel(grid, "x", {"field": "left"}, sheet),
        "x2": {"field": "right"},
        "y": channel(grid, "y", {"field": "top"}, sheet),
        "y2": {"field": "bottom"},
    }
    middle = {which: channel(grid, which, {"field": which}, sheet) for which in ("x", "y")}
    shown = {"text": {"field": "text"}, "color": _own("ink"), "tooltip": tooltip}
    cells = {"mark": "rect", "encoding": sides | {"color": _own("colour"), "tooltip": tooltip}}
    texts = {
        "mark": {"type": "text", "lineBreak": "\n", "fontSize": _cell_size(grid, sheet)},
        "encoding": middle | shown,
    }
    return {"data": {"values": rows}, "layer": [cells, texts]}


def _cell_size(grid: Grid, sheet: Sheet) -> float:
    """Return the size in pixels of the letters in cells; 0 if they would be too small to read."""
    lines = [line for row in grid.texts for text in row for line in text.split("\n")]
    widest = max((width(line, 1.0) for line in lines), default=1.0) or 1.0
    size = min(SIZE, 0.9 * sheet.width / max(len(grid.x.categories), 1) / widest)
    return size if size > 5 else 0


def _frame(panel: Panel | Grid, sheet: Sheet) -> Spec:
    """Return the panel's size, its title, and below it the label of its vertical axis."""
    sized: Spec = {"width": sheet.width, "height": panel_height(panel, sheet)}
    label = wrapped(panel.y.label, sheet.width) if panel.y.label else []
    if panel.title:
        title: Spec = {"text": wrapped(panel.title, sheet.width, 12)}
        return sized | {"title": title | ({"subtitle": label} if label else {})}
    plain = {"fontWeight": "normal", "fontSize": SIZE}
    return sized | ({"title": {"text": label} | plain} if label else {})


def _own(field: str) -> Spec:
    """Return the encoding of a colour that each row contains."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def _add_choice(panels: Sequence[Spec]) -> None:
    """Let a click on a name in the legend choose its series in all panels."""
    layers = (layer for panel in panels for layer in units(panel["layer"]))
    colours = ((layer, layer.get("encoding", {}).get("color", {})) for layer in layers)
    named = next((layer for layer, colour in colours if colour.get("legend")), None)
    if named:
        select = {"type": "point", "fields": ["name"], "toggle": "true"}
        choice = {"name": CHOICE, "select": select, "bind": "legend"}
        named.setdefault("params", []).append(choice)
