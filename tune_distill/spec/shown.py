"""Values and names for messages, truncated so that a message stays short."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from itertools import islice
from typing import Any

MAX_SHOWN = 80
"""The longest text of one value or name in a message, in characters."""


class _Repr(reprlib.Repr):
    def repr_dict(self, mapping: dict[Any, Any], level: int) -> str:
        # Keep the dictionary's order; reprlib sorts, but not all keys can be compared.
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
    """Return `repr(value)` with escaped control characters and about `MAX_SHOWN` characters."""
    return _cut(_repr.repr(value))


def plain(text: str) -> str:
    """Return the text without quotes, escaped and truncated like `shown`."""
    return _cut(text[: MAX_SHOWN + 1] if text.isprintable() else repr(text[: MAX_SHOWN + 1])[1:-1])


def listed(texts: Iterable[str], separator: str = ", ", most: int = 40) -> str:
    """Return the joined texts; after `most` of them, the number of the others."""
    texts = [*texts]
    left = len(texts) - most
    return separator.join(texts[:most]) + (f" and {left:,} more" if left > 0 else "")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
