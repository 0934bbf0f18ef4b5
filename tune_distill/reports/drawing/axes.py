"""The axes of a chart's panels, and where names stand on them."""

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
"""Degrees of the names below a panel that do not fit side by side."""

_MOST_LINES = 3
"""Of a name on an axis."""

_LINE = LINE * SIZE
_TALLEST = 760
"""Pixels of a panel; names beside it that have no room are left out."""

# Vega writes 0.00001 on log axes as 10µ; labels that it leaves out for lack of room are empty.
_POWERS = (
    "datum.label === '' ? '' : abs(datum.value) < 1e-3 || abs(datum.value) >= 1e5"
    " ? format(datum.value, '~e') : format(datum.value, '~r')"
)


# Of a log axis, only the lines of numbers that are written.
_LABELLED = {"condition": {"test": "datum.label === ''", "value": 0}, "value": 1}


@dataclass(frozen=True)
class Sheet:
    """How the panels of a figure stand: so many beside each other, each of that many pixels.

    `whole` is as wide as all of it, `names` the room for names beside a panel. An `interactive`
    sheet answers to the pointer.
    """

    columns: int
    width: int
    height: int
    whole: int
    names: int = 220
    interactive: bool = False


def panel_height(panel: Panel | Grid, sheet: Sheet) -> int:
    """The pixels of the panel: more where its rows of names want it."""
    if panel.y.scale != "category":
        return sheet.height
    wanted = len(panel.y.categories) * (_lines(panel.y, sheet) * _LINE + 6)
    return round(min(max(sheet.height, wanted), _TALLEST))


def names_width(axis: Axis, sheet: Sheet) -> float:
    """The pixels that the names of a vertical axis take."""
    lines = [line for name in axis.categories for line in shortened(name, sheet.names, _MOST_LINES)]
    return max(map(width, lines), default=0.0)


def channel(panel: Panel | Grid, which: Which, source: Spec, sheet: Sheet) -> Spec:
    """The encoding of an axis: the same in all layers of a panel, but for its source."""
    axis = panel.x if which == "x" else panel.y
    scale: Spec = {"domain": [short(end) for end in extent(panel, which)], "nice": False}
    # The label of a vertical axis stands above the panel.
    title = wrapped(axis.label, sheet.width) if which == "x" and axis.label else None
    style: Spec = {"title": title}
    if axis.scale == "category":
        style |= _names_across(axis, sheet) if which == "x" else _names_up(axis, sheet)
        # Names read from the top.
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
    """Enough digits for any screen; JSON knows no NaN."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


def _names_up(axis: Axis, sheet: Sheet) -> Spec:
    """Names beside a panel, on as many lines as they have room for."""
    lines = _lines(axis, sheet)
    step = _TALLEST / max(len(axis.categories), 1)
    crowded = step < lines * _LINE
    texts = [shortened(name, sheet.names, 1 if crowded else lines) for name in axis.categories]
    return _names(texts, step if crowded else _LINE) | {"labelLimit": 0}


def _names_across(axis: Axis, sheet: Sheet) -> Spec:
    """Names below a panel: wrapped where they fit side by side, else slanted."""
    step = sheet.width / max(len(axis.categories), 1)
    if fits(axis.categories, step - 6):
        return _names([shortened(name, step - 6, 4) for name in axis.categories], _LINE)
    slanted = {"labelAngle": -_SLANT, "labelLimit": 170}
    return _names(axis.categories, step * math.sin(math.radians(_SLANT))) | slanted


def _lines(axis: Axis, sheet: Sheet) -> int:
    """The most lines that one of the names beside a panel takes."""
    return max(
        (len(shortened(name, sheet.names, _MOST_LINES)) for name in axis.categories), default=1
    )


def _names(texts: Sequence[str | Sequence[str]], room: float) -> Spec:
    """Names so many pixels apart: not all of them where that is less than a line.

    Categories lie at numbers, so that points may lie beside them and lines go through.
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
