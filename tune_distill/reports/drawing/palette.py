"""Colours and marks that tell series apart, on paper and screen, also without colour vision.

Source: Okabe and Ito (2008), Color Universal Design; lighter on dark. Their yellow is too pale for
paper, and their black cannot be seen on a dark screen.
"""

from __future__ import annotations

LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK = ("#3D95D6", "#E8743B", "#1FB88A", "#DB93BD", "#E9AC2E", "#A3D5F7", "#F0E442")

NEUTRAL = "#707070"
"""For a series without a name beside others that have one: it reads on light and dark."""

# Triangles and diamonds are left to the series that ask for them. There are more than colours, and
# the two numbers share no factor: 63 names look different.
MARKERS = ("o", "s", "v", "P", "X", "<", "p", ">", "h")

CELLS = ("#EFF5FB", "#08457E")
"""The cells of a grid at 0 and at 1."""


def on_cell(value: float) -> str:
    """The colour of a text that reads well on a cell of that value."""
    return "#FFFFFF" if value > 0.7 else "#111111"
