"""Reads one cell of a data file as a text, a label, an answer, choices or an id.

The same rules hold for every format; docs/studies.md lists them. A cell is missing if it is null,
NaN or absent. A text may come as bytes in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

# A column of integers with a missing cell is written as real numbers.
_NUMBER = re.compile(r"(-1|0|[1-9][0-9]{0,5})(\.0+)?")
_SHOWN = 60


def text_of(cell: Any) -> str:
    """Return the cell's text without surrounding space; empty if the cell is missing.

    Raises:
        ValueError: the cell is not a text, is not in Unicode, or has a NUL character.
    """
    if isinstance(cell, str):
        if not (cell.isascii() or _is_unicode(cell)):
            raise ValueError(f"must be Unicode text, got a lone surrogate in {shown(cell)}")
        if "\0" in cell:
            raise ValueError(f"must be text, got a NUL character in {shown(cell)}")
        return cell.strip()
    if isinstance(cell, bytes):
        return text_of(_decoded(cell))
    if _is_missing(cell):
        return ""
    raise ValueError(f"must be text, got {shown(cell)}")


def label_of(
    cell: Any, labels: Sequence[str], numbered: Sequence[str], none: Collection[str]
) -> str | None:
    """Return the label that the cell gives; None if it gives no gold label.

    The cell holds one of `labels` or a position in `numbered`. If labels are numbers themselves, a
    number is a label. A missing cell, a text in `none` or the hub's -1 gives no gold label.

    Raises:
        ValueError: the cell is anything else.
    """
    text = answer_of(cell)
    known = {label.lower(): label for label in labels}
    if text.lower() in known:
        return known[text.lower()]
    if not text or text in none:
        return None
    number = _NUMBER.fullmatch(text)
    if number is not None and number[1] == "-1":
        return None
    # A number cannot be both a label and the position of one.
    most = 0 if any(map(str.isdecimal, labels)) else len(numbered)
    if number is None or int(number[1]) >= most:
        numbers = f" or {', '.join(map(str, range(most)))}" if most else ""
        raise ValueError(f"must be one of {', '.join(labels)}{numbers}, got {shown(cell)}")
    return numbered[int(number[1])]


def answer_of(cell: Any) -> str:
    """Return the cell's text, or its number or truth value as text; empty if the cell is missing.

    Raises:
        ValueError: the cell is anything else.
    """
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, int | float) and not _is_missing(cell):
        return str(cell)
    return text_of(cell)


def choices_of(cell: Any) -> tuple[str, ...]:
    """Return the texts in the cell, which is a list; empty if the cell is missing.

    Raises:
        ValueError: the cell is not a list of at least two texts that differ in more than case.
    """
    if _is_missing(cell):
        return ()
    choices = tuple(map(text_of, cell)) if isinstance(cell, list) else ()
    if len({choice.lower() for choice in choices} - {""}) < max(2, len(choices)):
        raise ValueError(f"must be a list of different texts, got {shown(cell)}")
    return choices


def id_of(cell: Any) -> str:
    """Return the user's id of a row; empty if the row has none."""
    if isinstance(cell, str | bytes) or _is_missing(cell):
        return text_of(cell)
    return str(cell)


def shown(value: object) -> str:
    """Return `repr(value)`, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_missing(cell: Any) -> bool:
    # Only NaN differs from itself.
    return cell is None or (isinstance(cell, float) and cell != cell)


def _is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode the text: JSON may escape half a pair of surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"must be text in UTF-8, got {shown(cell)}") from error
