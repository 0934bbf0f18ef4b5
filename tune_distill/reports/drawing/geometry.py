"""Where the marks of a panel lie, as plain numbers: the same in print and in the browser.

A category lies at its index; what an axis cannot show, such as zero on a log axis, is NaN.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal

from tune_distill.reports.drawing.panels import Axis, Figure, Grid, Panel, Series, Value

MARGIN = 0.05
"""The share of a numeric axis that stays free at either end."""


def names(figure: Figure) -> list[str]:
    """What a legend calls the series, each name once, in order; shaded series need no name."""
    series = [one for panel in figure.panels if isinstance(panel, Panel) for one in panel.series]
    return list(dict.fromkeys(one.name for one in series if one.name and one.shade is None))


def positions(panel: Panel, series: Series) -> tuple[list[float], list[float]]:
    """The points of the series along x and y, moved by its offset along a category axis."""
    shift_x = series.offset if panel.x.scale == "category" else 0.0
    shift_y = series.offset if panel.y.scale == "category" and not shift_x else 0.0
    return (
        [position(panel.x, value) + shift_x for value in series.x],
        [position(panel.y, value) + shift_y for value in series.y],
    )


def ends(panel: Panel, series: Series) -> tuple[list[float], list[float]]:
    """The ends of intervals and bands along the axis that they extend on."""
    axis = panel.x if series.along == "x" else panel.y
    return (
        [position(axis, value) for value in series.low],
        [position(axis, value) for value in series.high],
    )


def between(axis: Axis, start: float, end: float, share: float) -> float:
    """The place on the axis that is so far from start to end as it is drawn."""
    if axis.scale == "log":
        return math.exp(math.log(start) + share * (math.log(end) - math.log(start)))
    return start + share * (end - start)


def extent(panel: Panel | Grid, which: Literal["x", "y"]) -> tuple[float, float]:
    """The two ends of an axis, with some room; half a step around categories."""
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
        # Within what a real number can be: some axes begin at 1e-310.
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
    """Where the value lies on the axis."""
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
