"""Parts of figures, found by their names."""

from __future__ import annotations

from collections.abc import Sequence

from tune_distill.reports.drawing.panels import Figure, Grid, Panel, Series, Value


def panel(shown: Figure, title: str) -> Panel:
    [found] = [one for one in shown.panels if one.title == title]
    assert isinstance(found, Panel)
    return found


def series(shown: Panel, name: str, kind: str) -> Series:
    """Return the only series of this name and kind."""
    [found] = [one for one in shown.series if (one.name, one.kind) == (name, kind)]
    return found


def points(one: Series) -> set[tuple[Value, Value]]:
    return set(zip(one.x, one.y, strict=True))


def intervals(one: Series) -> dict[Value, tuple[float, float, float]]:
    """Return the middle and the ends by position."""
    where, middle = (one.x, one.y) if one.along == "y" else (one.y, one.x)
    return {
        place: (float(value), low, high)
        for place, value, low, high in zip(where, middle, one.low, one.high, strict=True)
    }


def panels(figures: Sequence[Figure]) -> list[Panel | Grid]:
    return [one for shown in figures for one in shown.panels]
