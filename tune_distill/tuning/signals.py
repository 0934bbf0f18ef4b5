"""SIGTERM ends a command as Ctrl-C does, and who handles signals for a while gives them back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_kept() -> Iterator[None]:
    """After the block, Ctrl-C and SIGTERM do what they did before it."""
    if threading.current_thread() is not threading.main_thread():
        # Nobody else may set handlers either.
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """In the block, the first SIGTERM does what Ctrl-C does, and further ones nothing.

    Batch systems send it first and SIGKILL later: the time between is for tables.
    """
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            return
        came = True
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            # A shell starts what runs in the background with Ctrl-C switched off.
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    with signals_kept():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, interrupt)
        yield
