"""Colours and marks that tell series apart, on paper and screen, also without colour vision.

Source: Okabe and Ito (2008), Color Universal Design; lighter on dark. Their yellow is too pale for
paper, and their black cannot be seen on a dark screen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

NEUTRAL = "#707070"
"""It reads on light and dark."""

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

# The place of a colour in LIGHT and DARK. Points that the front beats are means like all others.
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

# A worse setting points down, a better one up. Seven shapes and eight colours: 56 names differ.
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
"""The cells of a grid at 0 and at 1."""


def colour_places(names: Sequence[str]) -> list[str]:
    """The names, each at the place of its colour; a place that no name has holds a blank.

    A name with a meaning has the same colour in all figures, the others have what is left.
    """
    taken = {_MEANINGS[name]: name for name in names if name in _MEANINGS}
    free = (place for place in itertools.count() if place not in taken)
    taken |= dict(zip(free, (name for name in names if name not in _MEANINGS), strict=False))
    return [taken.get(place, f" {place}") for place in range(max(taken, default=-1) + 1)]


def cell_colour(value: float) -> str:
    """The colour of a grid's cell, between the two ends; those of NaN are as at 0."""
    share = min(max(value, 0.0), 1.0) if value == value else 0.0
    low, high = ([int(end[place : place + 2], 16) for place in (1, 3, 5)] for end in CELLS)
    mixed = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def on_cell(value: float) -> str:
    """The colour of a text that reads well on a cell of that value."""
    return "#FFFFFF" if value > 0.7 else "#111111"
