"""Colours and marks that distinguish series on paper and screen, also for colour-blind readers.

Source: Okabe and Ito (2008), Color Universal Design; lighter on dark. Their yellow is too pale for
paper, and their black is invisible on a dark screen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

NEUTRAL = "#707070"
"""Legible on light and dark."""

LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", NEUTRAL)
DARK = ("#3D95D6", "#E8743B", "#1FB88A", "#DB93BD", "#E9AC2E", "#A3D5F7", "#F0E442", NEUTRAL)

MEAN = "mean, 95 % interval"
WORSE = "detectably worse"
BETTER = "detectably better"
LAW = "power law, 95 % interval"
PRUNED = "pruned: loss when it was stopped"
SEED = "one seed"
FRONT = "not beaten in both"
BEATEN = "beaten in both"
OPEN = "not detectable"

# Index of the colour in LIGHT and DARK. Points that the front beats are means like all others.
_MEANINGS = {
    MEAN: 0,
    BEATEN: 0,
    WORSE: 1,
    BETTER: 2,
    LAW: 3,
    PRUNED: 4,
    SEED: 5,
    FRONT: 6,
    OPEN: 7,
}

# A worse setting points down, a better one up. Seven shapes and eight colours distinguish 56 names.
SHAPES = (
    "circle",
    "triangle-down",
    "triangle-up",
    "square",
    "cross",
    "diamond",
    "triangle-right",
)

CELLS = ("#EFF5FB", "#08457E")
"""The colours of a grid's cells at 0 and at 1."""


def colour_places(names: Sequence[str]) -> list[str]:
    """Return the names, each at the index of its colour; unused places hold a blank name.

    A name with a meaning has the same colour in all figures; the others take the remaining places.
    """
    taken = {_MEANINGS[name]: name for name in names if name in _MEANINGS}
    free = (place for place in itertools.count() if place not in taken)
    taken |= dict(zip(free, (name for name in names if name not in _MEANINGS), strict=False))
    return [taken.get(place, f" {place}") for place in range(max(taken, default=-1) + 1)]


def cell_colour(value: float) -> str:
    """Return the colour of a grid's cell, between those of 0 and 1; NaN is drawn like 0."""
    share = min(max(value, 0.0), 1.0) if value == value else 0.0
    low, high = ([int(end[place : place + 2], 16) for place in (1, 3, 5)] for end in CELLS)
    mixed = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def on_cell(value: float) -> str:
    """Return the colour of a legible text on a cell of this value."""
    return "#FFFFFF" if value > 0.7 else "#111111"
