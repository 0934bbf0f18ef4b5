"""Labels about a panel in print: titles and ticks that fit the space and never overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from tune_distill.reports.drawing.lettering import (
    LINE,
    SMALL,
    number_texts,
    power_texts,
    shortened,
    width,
    wrapped,
)
from tune_distill.reports.drawing.panels import Axis, Grid, Panel

SLANT = 40
"""Degrees; by which the names of categories rise where they do not fit side by side."""

GAP = 0.1
"""The least inches between the labels of two ticks."""

_MANTISSAS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10)))


@dataclass(frozen=True)
class Labels:
    """What stands at the ticks of an axis: `texts` at `places`, turned by `degrees`."""

    places: tuple[float, ...]
    texts: tuple[str, ...]
    degrees: int = 0


def fit_labels(axes: Axes, panel: Panel | Grid, wide: float, high: float, names: float) -> None:
    """The panel's titles and tick labels fit axes of that many inches, `names` beside them too."""
    axes.set_title(wrapped(panel.title, wide) if panel.title else "")
    axes.set_xlabel(wrapped(panel.x.label, wide))
    axes.set_ylabel(wrapped(panel.y.label, high))
    across = _across(panel.x, axes.get_xlim(), wide)
    axes.set_xticks(across.places, across.texts)
    for label in axes.get_xticklabels():
        slanted = 0 < across.degrees < 90
        label.set(
            rotation=across.degrees,
            rotation_mode="anchor" if across.degrees else None,
            ha="right" if across.degrees else "center",
            va="top" if slanted or not across.degrees else "center",
        )
    up = _up(panel.y, axes.get_ylim(), high, names)
    axes.set_yticks(up.places, up.texts)
    for axis, scale in ((axes.xaxis, panel.x.scale), (axes.yaxis, panel.y.scale)):
        axis.set_minor_formatter(NullFormatter())
        if scale != "log":
            axis.set_minor_locator(NullLocator())
        if scale == "category":
            axis.set_tick_params(length=0)


def name_width(columns: int) -> float:
    """The inches that the names of categories may take beside a panel in one of the columns."""
    return 2.2 if columns == 1 else 1.1


def row_heights(axis: Axis, columns: int) -> list[float]:
    """The inches that each category of a vertical axis wants, by the lines of its name."""
    room = name_width(columns)
    lines = [shortened(name, room, 3, SMALL).count("\n") + 1 for name in axis.categories]
    return [(count * LINE * SMALL / 72) + 0.07 for count in lines]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, at least two and about `most`, for a log axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]
    if len(decades) > most:
        return decades[:: math.ceil(len(decades) / most)]
    best: list[float] = []
    for mantissas in _MANTISSAS:
        made = [m * 10.0**power for power in range(first, last + 1) for m in mantissas]
        inside = [value for value in made if low <= value <= high]
        if best and len(inside) > most:
            break
        best = inside
    return best if len(best) >= 2 else linear_ticks(low, high, most)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high` in equal steps, about `most`."""
    locator = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2)
    slack = (high - low) * 1e-9
    made = locator.tick_values(low, high)
    return [float(value) for value in made if low - slack <= value <= high + slack]


def _across(axis: Axis, ends: tuple[float, float], inches: float) -> Labels:
    """Labels side by side."""
    if axis.scale == "category":
        return _names_across(axis.categories, inches)

    def fits(labels: Labels) -> bool:
        middles = _inches(labels.places, axis, ends, inches)
        halves = [width(text, SMALL) / 2 for text in labels.texts]
        spans = zip(middles, halves, strict=True)
        edges = [(middle - half, middle + half) for middle, half in spans]
        return all(right + GAP <= left for (_, right), (left, _) in itertools.pairwise(edges))

    return _numbers(axis, ends, min(max(int(inches / 0.5), 2), 7), fits)


def _up(axis: Axis, ends: tuple[float, float], inches: float, room: float) -> Labels:
    """Labels one above the other."""
    if axis.scale == "category":
        return _names_up(axis.categories, inches, room)
    return _numbers(axis, ends, min(max(int(inches / 0.35), 2), 7), lambda _: True)


def _numbers(
    axis: Axis, ends: tuple[float, float], most: int, fits: Callable[[Labels], bool]
) -> Labels:
    low, high = sorted(ends)
    make, write = (log_ticks, power_texts) if axis.scale == "log" else (linear_ticks, number_texts)
    for count in range(most, 1, -1):
        values = make(low, high, count)
        labels = Labels(tuple(values), tuple(write(values)))
        if fits(labels):
            return labels
    # Two numbers far apart, with whatever is between them left out.
    return Labels((labels.places[0], labels.places[-1]), (labels.texts[0], labels.texts[-1]))


def _inches(
    values: Sequence[float], axis: Axis, ends: tuple[float, float], inches: float
) -> list[float]:
    scaled = math.log if axis.scale == "log" else float
    low, high = (scaled(end) for end in ends)
    return [(scaled(value) - low) / (high - low) * inches for value in values]


def _names_across(names: Sequence[str], inches: float) -> Labels:
    """Names wrapped where they fit side by side; else slanted, else upright and not all of them."""
    step = inches / max(len(names), 1)
    upright = [shortened(name, step - GAP / 2, 4, SMALL) for name in names]
    # Breaking words into pieces would fit anywhere, and read nowhere.
    if all(width(word, SMALL) <= step - GAP / 2 for name in names for word in name.split()):
        return Labels(tuple(range(len(names))), tuple(upright))
    line = LINE * SMALL / 72
    degrees = SLANT if step * math.sin(math.radians(SLANT)) >= line else 90
    every = 1 if degrees == SLANT else math.ceil(line / step)
    lines = 2 if step * math.sin(math.radians(SLANT)) >= 2 * line else 1
    places = range(0, len(names), every)
    texts = tuple(shortened(names[place], max(1.4, inches * 0.4), lines, SMALL) for place in places)
    return Labels(tuple(places), texts, degrees)


def _names_up(names: Sequence[str], inches: float, room: float) -> Labels:
    """Names on up to three lines where there is room, else on one; not all where they are many."""
    step = inches / max(len(names), 1)
    line = LINE * SMALL / 72
    lines = min(max(int(step / line), 1), 3)
    places = range(0, len(names), max(math.ceil(line / step), 1))
    texts = tuple(shortened(names[place], room, lines, SMALL) for place in places)
    return Labels(tuple(places), texts)
