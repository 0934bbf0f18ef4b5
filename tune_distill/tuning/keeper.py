"""A separate thread that starts Ray, keeps it and ends it.

Linux kills Ray's processes when the thread that started them ends. A failed start may block inside
Ray for most of a minute without a way to interrupt it. So the caller waits outside of that thread,
and checks by itself whether one of Ray's processes has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tune_distill.tuning.alive import OwnProcesses, Watch

_POLL_S = 0.1

# Seconds that a Ray which has lost a process may take to end.
_END_S = 10.0


class StartError(Exception):
    """One of Ray's processes ended while Ray started."""


class _Keeper(threading.Thread):
    def __init__(self, start: Callable[[], object], end: Callable[[], object]) -> None:
        super().__init__(name="ray", daemon=True)
        self._start_ray, self._end_ray = start, end
        self.is_settled, self.may_end = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._start_ray()
        # Ray raises bare Exceptions, and SystemExit if it cannot read its own files.
        except BaseException as error:
            self.error = error
        self.is_settled.set()
        if self.error is None:
            self.may_end.wait()
            self._end_ray()


_abandoned: list[_Keeper] = []
"""Threads of abandoned starts, which may still be inside Ray."""


@contextmanager
def kept(
    start: Callable[[], object],
    end: Callable[[], object],
    processes: OwnProcesses,
    watch: Watch,
) -> Iterator[None]:
    """Run Ray in the block: `start` starts it, `end` ends it, and `watch` detects its loss.

    Raises:
        StartError: one of `processes` ended before Ray had started.
        Exception: `start` raised it.
    """
    while _abandoned:
        _abandoned.pop().join()
    keeper = _Keeper(start, end)
    keeper.start()
    try:
        _await_start(keeper, processes)
    except BaseException:
        processes.kill()
        _abandoned.append(keeper)
        # If Ray starts after all, it ends at once.
        keeper.may_end.set()
        raise
    try:
        yield
    finally:
        lost = watch.ended() is not None
        keeper.may_end.set()
        keeper.join(_END_S if lost else None)
        processes.kill()


def _await_start(keeper: _Keeper, processes: OwnProcesses) -> None:
    while not keeper.is_settled.wait(_POLL_S):
        if ended := processes.ended():
            raise StartError(ended)
    if keeper.error is not None:
        raise keeper.error
