"""How wide a text is in print, how it wraps, and how numbers on an axis are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

FONT = "DejaVu Sans"
"""It comes with matplotlib: figures look the same on every machine."""

SIZE = 9.0
SMALL = 8.0
LINE = 1.25
"""The height of a line of text, in sizes of its font."""

_INCH = 72.0
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def width(text: str, size: float = SIZE) -> float:
    """The inches that the text's longest line takes."""
    font = FontProperties(family=FONT, size=size)
    return max(
        float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) / _INCH
        for line in text.split("\n")
    )


def height(text: str, size: float = SIZE) -> float:
    """The inches that the text's lines take, one above the other."""
    return (text.count("\n") + 1) * LINE * size / _INCH


def wrapped(text: str, inches: float, size: float = SIZE) -> str:
    """The text on lines of at most that width; only a word too long for a line is broken."""
    return "\n".join(_lines(text, inches, size))


def shortened(text: str, inches: float, lines: int, size: float = SIZE) -> str:
    """The text wrapped to at most so many lines; what does not fit is an ellipsis."""
    made = _lines(text, inches, size)
    if len(made) > lines:
        made = [*made[: lines - 1], made[lines - 1][:-1].rstrip() + "…"]
    return "\n".join(made)


def _lines(text: str, inches: float, size: float) -> list[str]:
    made: list[str] = []
    for paragraph in text.split("\n"):
        letters = max(len(paragraph), 1)
        lines = [paragraph]
        # Letters differ in width: fewer a line, until the widest line fits.
        while letters > 1 and any(width(line, size) > inches for line in lines):
            per_letter = max(width(line, size) / len(line) for line in lines)
            letters = min(letters - 1, max(int(inches / per_letter), 1))
            lines = textwrap.wrap(paragraph, letters) or [""]
        made += lines
    return made


def number_texts(values: Sequence[float]) -> list[str]:
    """The numbers of one linear axis, all with the same digits after the point."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest and not 1e-4 <= largest < 1e6:
        return power_texts(values)
    # Values come from sums of steps: 0.1 + 0.2 is still one digit.
    slack = largest * 1e-6
    digits = next(
        (d for d in range(8) if all(abs(round(value, d) - value) <= slack for value in values)), 8
    )
    return [f"{value + 0.0:.{digits}f}".replace("-", "\u2212") for value in values]


def power_texts(values: Sequence[float]) -> list[str]:
    """The numbers of one axis: plain where all of them are short, else with powers of ten."""
    if all(value == 0 or 1e-3 <= abs(value) < 1e5 for value in values):
        return [f"{value:g}".replace("-", "\u2212") for value in values]
    return [_power_text(value) for value in values]


def _power_text(value: float) -> str:
    """Such as `10⁻⁵` and `2×10⁻⁵`."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    factor = f"{value / 10**power:.4g}".replace("-", "\u2212")
    raised = "10" + str(power).translate(_RAISED)
    return raised if factor == "1" else f"{factor}×{raised}"
