"""The positions of a panel's marks as plain numbers, the same in print and in the browser.

The position of a category is its index. What an axis cannot show, such as zero on a log axis, is
NaN.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal

from tune_distill.reports.drawing.panels import Axis, Figure, Grid, Panel, Series, Value

MARGIN = 0.05
"""The fraction of a numeric axis that stays free at each end."""


def names(figure: Figure) -> list[str]:
    """Return the series' names in the legend, once each, in order; shaded series need no name."""
    series = [one for panel in figure.panels if isinstance(panel, Panel) for one in panel.series]
    return list(dict.fromkeys(one.name for one in series if one.name and one.shade is None))


def positions(panel: Panel, series: Series) -> tuple[list[float], list[float]]:
    """Return x and y of the series' points, shifted by its offset along a category axis."""
    shift_x = series.offset if panel.x.scale == "category" else 0.0
    shift_y = series.offset if panel.y.scale == "category" and not shift_x else 0.0
    return (
        [position(panel.x, value) + shift_x for value in series.x],
        [position(panel.y, value) + shift_y for value in series.y],
    )


def ends(panel: Panel, series: Series) -> tuple[list[float], list[float]]:
    """Return the low and high ends of intervals and bands along their axis."""
    axis = panel.x if series.along == "x" else panel.y
    return (
        [position(axis, value) for value in series.low],
        [position(axis, value) for value in series.high],
    )


def between(axis: Axis, start: float, end: float, share: float) -> float:
    """Return the value at this fraction of the drawn distance from `start` to `end`."""
    if axis.scale == "log":
        return math.exp(math.log(start) + share * (math.log(end) - math.log(start)))
    return start + share * (end - start)


def extent(panel: Panel | Grid, which: Literal["x", "y"]) -> tuple[float, float]:
    """Return both ends of an axis with some room; half a step around categories."""
    axis = panel.x if which == "x" else panel.y
    if axis.scale == "category":
        return -0.5, max(len(axis.categories), 1) - 0.5
    assert isinstance(panel, Panel)
    if axis.limits:
        return axis.limits
    shown = [value for value in _values(panel, which) if not math.isnan(value)]
    if not shown:
        return (1.0, 10.0) if axis.scale == "log" else (0.0, 1.0)
    low, high = min(shown), max(shown)
    if axis.scale == "log":
        room = (math.log(high) - math.log(low)) * MARGIN or math.log(1.5)
        # Stay within the range of floats: some axes begin at 1e-310.
        ends = math.log(sys.float_info.min), math.log(sys.float_info.max)
        least, most = max(math.log(low) - room, ends[0]), min(math.log(high) + room, ends[1])
        return min(low, math.exp(least)), max(high, math.exp(most))
    room = (high - low) * MARGIN or abs(low) * MARGIN or 0.5
    return low - room, high + room


def _values(panel: Panel, which: Literal["x", "y"]) -> list[float]:
    axis = panel.x if which == "x" else panel.y
    rules = [rule for rule in panel.rules if rule.axis == which]
    found = [
        position(axis, end) for rule in rules for end in (rule.value, rule.end) if end is not None
    ]
    for series in panel.series:
        found += positions(panel, series)[which == "y"]
        if series.along == which:
            found += [value for side in ends(panel, series) for value in side]
    return found


def position(axis: Axis, value: Value) -> float:
    """Return the position of the value on the axis; NaN if the axis cannot show it."""
    if axis.scale == "category":
        return float(_index(axis.categories, value))
    number = float(value)
    if not math.isfinite(number) or (axis.scale == "log" and number <= 0):
        return math.nan
    return number


def _index(categories: Sequence[str], value: Value) -> int:
    if value not in categories:
        raise ValueError(f"{value!r} is none of the axis's categories {list(categories)}")
    return categories.index(str(value))
