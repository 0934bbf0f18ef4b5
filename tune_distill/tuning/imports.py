"""Imports made quicker: they are most of the time that a short trial takes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unseen(*packages: str) -> Iterator[None]:
    """What is imported in the block does not find these packages, unless they are imported."""
    hidden = [name for name in packages if name not in sys.modules]
    # As Python's own import says that there is no such module.
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def no_garbage() -> Iterator[None]:
    """Nobody looks for garbage in the block, nor later among what it made.

    Imports make a million objects that stay: to go through them again and again takes a fifth of
    torch's and transformers' import.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
