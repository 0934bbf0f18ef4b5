"""Values and names of unknown size, cut so that a message stays a few lines long."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

MAX_SHOWN = 80
"""Longest text of one value or name in a message, in characters."""


class _Repr(reprlib.Repr):
    def repr_dict(self, mapping: dict[Any, Any], level: int) -> str:
        # In its own order; reprlib sorts, which not all keys can be.
        if level <= 0:
            return "{...}"
        items = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(mapping.items(), self.maxdict)
        ]
        return f"{{{', '.join(items)}{', ...' if len(mapping) > self.maxdict else ''}}}"


_repr = _Repr()
_repr.maxlevel = 3
_repr.maxstring = _repr.maxother = MAX_SHOWN


def shown(value: object) -> str:
    """`repr(value)`, cut to about `MAX_SHOWN` characters; control characters are escaped."""
    return _cut(_repr.repr(value))


def plain(text: str) -> str:
    """The text without quotes, cut likewise; control characters are escaped."""
    return _cut(text[: MAX_SHOWN + 1] if text.isprintable() else repr(text[: MAX_SHOWN + 1])[1:-1])


def listed(texts: Iterable[str], separator: str = ", ", most: int = 40) -> str:
    """The texts one after the other; after `most` of them, how many more there are."""
    texts = [*texts]
    left = len(texts) - most
    return separator.join(texts[:most]) + (f" and {left:,} more" if left > 0 else "")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
