"""SIGTERM ends a command as Ctrl-C does, and a second signal ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Tune handles SIGUSR1 too, and leaves its handler behind.
_KEPT = (*_SIGNALS, signal.SIGUSR1)

_EXIT_ENDED = 1

_NO_SIGNAL = 0
"""Tells the counting thread that the block has ended; a child process may hold the pipe open."""

_ONE_SIGNAL_S = 0.2
"""`timeout` and others send a signal to a process and again to its group: that is one signal."""

_LAST_WORDS_S = 0.5


@contextmanager
def signals_kept() -> Iterator[None]:
    """After the block, Ctrl-C, SIGTERM and SIGUSR1 do what they did before it."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set handlers.
        yield
        return
    before = {number: signal.getsignal(number) for number in _KEPT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals(say_last: Callable[[], object] = lambda: None) -> Iterator[None]:
    """In the block, the first SIGTERM does what Ctrl-C does; the second signal ends the process.

    Batch systems send SIGTERM first and SIGKILL later: the time between is for tables. The second
    signal ends the process whatever it does or waits for. `say_last` is called before that, and
    given up if its output is blocked. All processes that this one has started are killed, so that
    a Ray of its own ends with it; files that were half written are removed by the next run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with signals_kept(), _second_one_ends(say_last):
        signal.signal(signal.SIGTERM, _interrupt)
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C does at this moment."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        # A shell starts background processes with Ctrl-C switched off.
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


@contextmanager
def _second_one_ends(say_last: Callable[[], object]) -> Iterator[None]:
    """A thread counts signals, also while the main thread is in a lock or in a library's code.

    Python's handlers run in the main thread only, between two steps of its own. Before that, it
    writes each signal's number to a pipe: the thread reads that.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    counter = threading.Thread(
        target=_count, args=(reading, say_last), name="count-signals", daemon=True
    )
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    counter.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([_NO_SIGNAL]))
        counter.join()
        os.close(writing)
        os.close(reading)


def _count(reading: int, say_last: Callable[[], object]) -> None:
    """Read signals until the block has ended; the second one ends the process."""
    first_s: float | None = None
    while _NO_SIGNAL not in (numbers := os.read(reading, 64)):
        if not set(numbers) & set(_SIGNALS):
            continue
        now = time.monotonic()
        if first_s is None:
            first_s = now
        elif now - first_s > _ONE_SIGNAL_S:
            _end(say_last)


def _end(say_last: Callable[[], object]) -> None:
    words = threading.Thread(target=_say, args=(say_last,), daemon=True)
    words.start()
    words.join(_LAST_WORDS_S)
    for pid in _descendants(os.getpid()):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(_EXIT_ENDED)


def _descendants(pid: int) -> list[int]:
    """The processes that this one has started, and those that they have, parents first.

    Read from /proc; none where the system has no such folder.
    """
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # One that ends meanwhile.
        with suppress(OSError):
            # After the name, which may hold anything: the state and the parent.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def _say(say_last: Callable[[], object]) -> None:
    with suppress(Exception):
        say_last()
