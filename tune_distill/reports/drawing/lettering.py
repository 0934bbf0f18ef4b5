"""Estimates of the width of texts in a chart, and their wrapping.

Vega measures texts only when it draws, which is too late to wrap them.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

SIZE = 11.0
"""Size in pixels of the letters of most texts."""

LINE = 1.25
"""Height of a line of text, as a multiple of the letters' size."""

# As multiples of the size, as in Arial and fonts of the same widths; all other lower-case letters
# are about as wide as a digit.
_WIDTHS = dict.fromkeys(" !,.:;'|ijlI[]/\\", 0.28) | dict.fromkeys('-()frt`"{}*', 0.36)
_WIDTHS |= dict.fromkeys("mwMW%@…—", 0.92)
_DIGIT = 0.56
_CAPITAL = 0.7


def width(text: str, size: float = SIZE) -> float:
    """Return the width of the text on one line, in pixels."""
    return sum(map(_letter, text)) * size


def fits(texts: Sequence[str], pixels: float, size: float = SIZE) -> bool:
    """Return whether each word of the texts fits on a line of this width."""
    return all(width(word, size) <= pixels for text in texts for word in text.split())


def wrapped(text: str, pixels: float, size: float = SIZE) -> list[str]:
    """Return the text as lines of at most this width; only words longer than a line are broken."""
    text = " ".join(text.split())
    letters = max(len(text), 1)
    lines = [text]
    # Letters differ in width, so reduce their number a line until the widest line fits.
    while letters > 1 and any(width(line, size) > pixels for line in lines):
        per_letter = max(width(line, size) / len(line) for line in lines)
        letters = min(letters - 1, max(int(pixels / per_letter), 1))
        lines = textwrap.wrap(text, letters) or [""]
    return lines


def shortened(text: str, pixels: float, lines: int, size: float = SIZE) -> list[str]:
    """Return the text wrapped to at most this many lines; an ellipsis replaces the rest."""
    made = wrapped(text, pixels, size)
    if len(made) <= lines:
        return made
    return [*made[: lines - 1], made[lines - 1][:-1].rstrip() + "…"]


def _letter(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return _WIDTHS.get(letter, _CAPITAL if letter.isupper() else _DIGIT)
