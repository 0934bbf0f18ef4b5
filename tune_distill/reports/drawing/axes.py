"""The axes of a chart's panels, and the placement of names on them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tune_distill.reports.drawing.geometry import extent
from tune_distill.reports.drawing.lettering import LINE, SIZE, fits, shortened, width, wrapped
from tune_distill.reports.drawing.panels import Axis, Grid, Panel

Spec: TypeAlias = dict[str, Any]
Which: TypeAlias = Literal["x", "y"]

_SLANT = 35
"""Angle, in degrees, of names below a panel that do not fit side by side."""

_MOST_LINES = 3
"""The most lines of a name on an axis."""

_LINE = LINE * SIZE
_TALLEST = 760
"""The largest height of a panel in pixels; names beside it that have no room are left out."""

# Vega writes 0.00001 on log axes as 10µ. Labels that it leaves out for lack of room are empty.
_POWERS = (
    "datum.label === '' ? '' : abs(datum.value) < 1e-3 || abs(datum.value) >= 1e5"
    " ? format(datum.value, '~e') : format(datum.value, '~r')"
)


# Draw a log axis's grid lines only at numbers that have a label.
_LABELLED = {"condition": {"test": "datum.label === ''", "value": 0}, "value": 1}


@dataclass(frozen=True)
class Sheet:
    """The layout of a figure's panels: `columns` beside each other, each `width` pixels wide.

    `whole` is the width of all columns, `names` the room for names beside a panel. An `interactive`
    sheet reacts to the pointer.
    """

    columns: int
    width: int
    height: int
    whole: int
    names: int = 220
    interactive: bool = False


def panel_height(panel: Panel | Grid, sheet: Sheet) -> int:
    """Return the panel's height in pixels, which is larger if its rows of names need it."""
    if panel.y.scale != "category":
        return sheet.height
    wanted = len(panel.y.categories) * (_lines(panel.y, sheet) * _LINE + 6)
    return round(min(max(sheet.height, wanted), _TALLEST))


def names_width(axis: Axis, sheet: Sheet) -> float:
    """Return the width in pixels of the names of a vertical axis."""
    lines = [line for name in axis.categories for line in shortened(name, sheet.names, _MOST_LINES)]
    return max(map(width, lines), default=0.0)


def channel(panel: Panel | Grid, which: Which, source: Spec, sheet: Sheet) -> Spec:
    """Return the encoding of an axis; only `source` differs between the layers of a panel."""
    axis = panel.x if which == "x" else panel.y
    scale: Spec = {"domain": [short(end) for end in extent(panel, which)], "nice": False}
    # The label of a vertical axis is above the panel.
    title = wrapped(axis.label, sheet.width) if which == "x" and axis.label else None
    style: Spec = {"title": title}
    if axis.scale == "category":
        style |= _names_across(axis, sheet) if which == "x" else _names_up(axis, sheet)
        # List names from the top.
        scale |= {"reverse": which == "y"}
    else:
        room = sheet.width // 50 if which == "x" else sheet.height // 35
        style |= {"tickCount": min(max(room, 3), 6)}
    if axis.scale == "log":
        scale |= {"type": "log"}
        style |= {"labelExpr": _POWERS, "gridOpacity": _LABELLED}
    if axis.bare:
        style |= {"values": [], "domain": False}
    return source | {"type": "quantitative", "scale": scale, "axis": style}


def short(value: float) -> float | None:
    """Return the value with enough digits for any screen; None if it is not finite."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


def _names_up(axis: Axis, sheet: Sheet) -> Spec:
    """Return the style of names beside a panel, on as many lines as they have room for."""
    lines = _lines(axis, sheet)
    step = _TALLEST / max(len(axis.categories), 1)
    crowded = step < lines * _LINE
    texts = [shortened(name, sheet.names, 1 if crowded else lines) for name in axis.categories]
    return _names(texts, step if crowded else _LINE) | {"labelLimit": 0}


def _names_across(axis: Axis, sheet: Sheet) -> Spec:
    """Return the style of names below a panel: wrapped if they fit side by side, else slanted."""
    step = sheet.width / max(len(axis.categories), 1)
    if fits(axis.categories, step - 6):
        return _names([shortened(name, step - 6, 4) for name in axis.categories], _LINE)
    slanted = {"labelAngle": -_SLANT, "labelLimit": 170}
    return _names(axis.categories, step * math.sin(math.radians(_SLANT))) | slanted


def _lines(axis: Axis, sheet: Sheet) -> int:
    """Return the largest number of lines of a name beside a panel."""
    return max(
        (len(shortened(name, sheet.names, _MOST_LINES)) for name in axis.categories), default=1
    )


def _names(texts: Sequence[str | Sequence[str]], room: float) -> Spec:
    """Return the style of names `room` pixels apart; skip some if that is less than a line.

    Categories are at numeric positions, so that points can be beside them and lines can cross them.
    """
    return {
        "values": list(range(0, len(texts), math.ceil(_LINE / room))),
        "labelExpr": f"{json.dumps(texts)}[datum.value]",
        "labelAngle": 0,
        "labelOverlap": False,
        "labelPadding": 5,
        "grid": False,
        "ticks": False,
    }
