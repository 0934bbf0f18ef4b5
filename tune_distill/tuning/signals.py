"""Signals: SIGTERM ends a command like Ctrl-C does, and a second signal ends it at once."""

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

# Tune sets a handler for SIGUSR1 too, and does not restore the former one.
_KEPT = (*_SIGNALS, signal.SIGUSR1)

_EXIT_ENDED = 1

_NO_SIGNAL = 0
"""Tells the counting thread that the block has ended; a child process may keep the pipe open."""

_ONE_SIGNAL_S = 0.2
"""Signals within so many seconds count as one: `timeout` signals both a process and its group."""

_LAST_WORDS_S = 0.5


@contextmanager
def signals_kept() -> Iterator[None]:
    """Restore the handlers of Ctrl-C, SIGTERM and SIGUSR1 after the block."""
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
    """Treat the first SIGTERM in the block like Ctrl-C; end the process at the second signal.

    Batch systems send SIGTERM first and SIGKILL later, which leaves time to write tables. The
    second signal ends the process even if it hangs. It first calls `say_last`, but does not wait if
    its output is blocked. It also kills all processes that this one has started, such as those of
    Ray. The next run removes temporary files.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with signals_kept(), _second_one_ends(say_last):
        signal.signal(signal.SIGTERM, _interrupt)
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Call the present handler of Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        # A shell starts background processes with Ctrl-C ignored.
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


@contextmanager
def _second_one_ends(say_last: Callable[[], object]) -> Iterator[None]:
    """Count signals in a thread, even while the main thread waits in a lock or library code.

    Python runs handlers only in the main thread, between its own instructions. But it writes each
    signal's number to a pipe at once, and the thread reads this pipe.
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
    """Return the process's descendants, parents first; an empty list on systems without /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # The process may end meanwhile.
        with suppress(OSError):
            # State and parent follow the name, which may contain any text.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def _say(say_last: Callable[[], object]) -> None:
    with suppress(Exception):
        say_last()
