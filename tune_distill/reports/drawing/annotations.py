"""Texts beside points and rules in print: none on another, none outside the axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from tune_distill.reports.drawing.geometry import ends, positions
from tune_distill.reports.drawing.lettering import height, width, wrapped
from tune_distill.reports.drawing.panels import Panel, Rule

SIZE = 7.5

_WIDEST = 1.5
"""Inches after which a text beside a point goes on below."""

_NEAR = 5.0
_RINGS = (_NEAR, 9.0, 15.0, 23.0, 33.0, 45.0, 60.0, 80.0)
"""Points (1/72 inch) between a mark and its text; the nearest free place is taken."""

_DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True)
class Box:
    """A rectangle in points from the lower left corner of the axes."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def inside(self, wide: float, high: float) -> bool:
        return self.left >= 0 and self.bottom >= 0 and self.right <= wide and self.top <= high


class Room:
    """The free space of axes of so many points: what is placed stays clear of what was before."""

    def __init__(self, wide: float, high: float, marks: np.ndarray) -> None:
        """`marks` (n, 3) are x, y and weight of what texts should rather not cover."""
        self.wide = wide
        self._size = wide, high
        self._marks = marks
        self._taken: list[Box] = []

    def place(self, candidates: Iterable[tuple[Box, float]]) -> Box | None:
        """The candidate that costs least, counting what it covers; None if none is free."""
        best: tuple[float, Box] | None = None
        for box, cost in candidates:
            if not box.inside(*self._size) or any(map(box.overlaps, self._taken)):
                continue
            whole = cost + 3.0 * math.sqrt(self._covered(box))
            if best is None or whole < best[0]:
                best = whole, box
        if best is None:
            return None
        self._taken.append(best[1])
        return best[1]

    def _covered(self, box: Box) -> float:
        x, y, weight = self._marks.T
        pad = 2.0
        across = (x > box.left - pad) & (x < box.right + pad)
        return float(weight[across & (y > box.bottom - pad) & (y < box.top + pad)].sum())


def annotate(axes: Axes, panel: Panel, wide: float, high: float) -> None:
    """The texts of rules and annotated points stand in the axes, which are so many inches."""
    room = Room(wide * 72, high * 72, _marks(axes, panel))
    for rule in panel.rules:
        if rule.text:
            _write_rule(axes, rule, room, wide, high)
    for series in panel.series:
        if series.annotated:
            x, y = positions(panel, series)
            for text, point in zip(series.texts, _places(axes, x, y), strict=True):
                if text and np.isfinite(point).all():
                    _write_point(axes, text, (float(point[0]), float(point[1])), room)


def _write_point(axes: Axes, text: str, point: tuple[float, float], room: Room) -> None:
    text = wrapped(text, _WIDEST, SIZE)
    box = room.place(_around(point, *_size(text), room.wide))
    # A text that finds no place is left out: the page and the tables have it.
    if box is None:
        return
    middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    nearest = (
        min(max(point[0], box.left), box.right),
        min(max(point[1], box.bottom), box.top),
    )
    if math.dist(point, nearest) > _NEAR * 2:
        _connect(axes, point, nearest)
    _write(axes, text, middle)


def _write_rule(axes: Axes, rule: Rule, room: Room, wide: float, high: float) -> None:
    text = wrapped(rule.text, wide * 0.4, SIZE)
    value = (rule.value, 0.0) if rule.axis == "x" else (0.0, rule.value)
    place = axes.transData.transform(value) - axes.transAxes.transform((0.0, 0.0))
    along = float(place[0 if rule.axis == "x" else 1]) * 72 / _dpi(axes)
    box = room.place(_beside(rule.axis == "x", along, _size(text), (wide * 72, high * 72)))
    if box is not None:
        _write(axes, text, ((box.left + box.right) / 2, (box.bottom + box.top) / 2), "#606060")


def _around(
    point: tuple[float, float], wide: float, high: float, whole: float
) -> Iterable[tuple[Box, float]]:
    """Boxes of that size about a point, and what each costs: near ones least."""
    for distance in _RINGS:
        for order, (right, up) in enumerate(_DIRECTIONS):
            reach = distance / math.hypot(right, up)
            left = point[0] + right * (reach + wide / 2) - wide / 2
            if up:
                # Near an edge of the axes a text above or below its point moves inwards.
                left = min(max(left, 0.0), max(whole - wide, 0.0))
            bottom = point[1] + up * (reach + high / 2) - high / 2
            yield Box(left, bottom, left + wide, bottom + high), distance + order * 0.1


def _beside(
    vertical: bool, along: float, size: tuple[float, float], whole: tuple[float, float]
) -> Iterable[tuple[Box, float]]:
    """Boxes on either side of a rule, at its ends first."""
    wide, high = size
    for side in (2.0, -2.0 - (wide if vertical else high)):
        for share in (1.0, 0.0, 0.5, 0.75, 0.25):
            cost = 0.0 if share in (0.0, 1.0) else 1.0
            if vertical:
                left, bottom = along + side, 2 + share * (whole[1] - high - 4)
            else:
                left, bottom = 2 + share * (whole[0] - wide - 4), along + side
            yield Box(left, bottom, left + wide, bottom + high), cost


def _marks(axes: Axes, panel: Panel) -> np.ndarray:
    """Where ink is: x, y and weight (n, 3). A hidden point loses more than a piece of a line."""
    found = [np.empty((0, 3))]
    for series in panel.series:
        x, y = positions(panel, series)
        places = _places(axes, x, y)
        if series.kind == "points":
            found.append(np.column_stack([places, np.full(len(places), 100.0)]))
        if series.kind == "line":
            found += [_between(*pair) for pair in itertools.pairwise(places)]
        if series.kind == "intervals":
            sides = [
                _places(axes, *((side, y) if series.along == "x" else (x, side)))
                for side in ends(panel, series)
            ]
            found += [_between(*pair) for pair in zip(*sides, strict=True)]
    return np.concatenate(found)


def _between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Marks along a straight line, one every four points."""
    steps = np.linspace(0.0, 1.0, _count(start, end))[:, None]
    return np.column_stack([start + steps * (end - start), np.ones(len(steps))])


def _count(start: np.ndarray, end: np.ndarray) -> int:
    length = float(np.hypot(*(end - start)))
    return int(length / 4) + 2 if math.isfinite(length) else 0


def _places(axes: Axes, x: list[float], y: list[float]) -> np.ndarray:
    """Data as points (1/72 inch) from the lower left corner of the axes; (n, 2)."""
    pixels = axes.transData.transform(np.column_stack([x, y]))
    corner = axes.transAxes.transform((0.0, 0.0))
    return np.asarray((pixels - corner) * 72 / _dpi(axes))


def _size(text: str) -> tuple[float, float]:
    return width(text, SIZE) * 72 * 1.04, height(text, SIZE) * 72


def _write(axes: Axes, text: str, middle: tuple[float, float], colour: str = "#202020") -> None:
    axes.annotate(
        text,
        middle,
        xycoords="axes points",
        ha="center",
        va="center",
        size=SIZE,
        color=colour,
        linespacing=1.0,
        zorder=6,
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.3},
    )


def _connect(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        xycoords="axes points",
        textcoords="axes points",
        arrowprops={"arrowstyle": "-", "color": "#909090", "linewidth": 0.5},
        zorder=5,
    )


def _dpi(axes: Axes) -> float:
    return float(axes.get_figure(root=True).dpi)  # type: ignore[union-attr]
