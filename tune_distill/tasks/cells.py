"""What one cell of a data file says: a text, a label, an answer, choices or an id.

Every format is held to the same rules, which docs/studies.md tells. A cell is missing if it is
null, NaN or not there at all; a text may come as bytes in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

# A column of integers that lacks one is written as real numbers.
_NUMBER = re.compile(r"(-1|0|[1-9][0-9]{0,5})(\.0+)?")
_SHOWN = 60


def text_of(cell: Any) -> str:
    """The cell's text without the space around it; empty where it is missing.

    Raises:
        ValueError: it is no text, or not one in Unicode.
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
    """The one of `labels` that the cell names, or numbers in the order of `numbered`; None where
    there is no gold label: a missing cell, a text in `none`, the hub's -1.

    Where labels are numbers themselves, a number is a label and no place.

    Raises:
        ValueError: it is anything else.
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
    # A number cannot be both a label and the place of one.
    most = 0 if any(map(str.isdecimal, labels)) else len(numbered)
    if number is None or int(number[1]) >= most:
        numbers = f" or {', '.join(map(str, range(most)))}" if most else ""
        raise ValueError(f"must be one of {', '.join(labels)}{numbers}, got {shown(cell)}")
    return numbered[int(number[1])]


def answer_of(cell: Any) -> str:
    """The cell's text, or its number or truth value as text; empty where it is missing.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, int | float) and not _is_missing(cell):
        return str(cell)
    return text_of(cell)


def choices_of(cell: Any) -> tuple[str, ...]:
    """The texts in the cell, which is a list; empty where it is missing.

    Raises:
        ValueError: it is no list of at least two texts that differ in more than capitals.
    """
    if _is_missing(cell):
        return ()
    choices = tuple(map(text_of, cell)) if isinstance(cell, list) else ()
    if len({choice.lower() for choice in choices} - {""}) < max(2, len(choices)):
        raise ValueError(f"must be a list of different texts, got {shown(cell)}")
    return choices


def id_of(cell: Any) -> str:
    """The user's id of a row; empty where it has none."""
    if isinstance(cell, str | bytes) or _is_missing(cell):
        return text_of(cell)
    return str(cell)


def shown(value: object) -> str:
    """The value as Python writes it, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_missing(cell: Any) -> bool:
    # NaN alone differs from itself.
    return cell is None or (isinstance(cell, float) and cell != cell)


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON may escape half a pair of surrogates."""
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
