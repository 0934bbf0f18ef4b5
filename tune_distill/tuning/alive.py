"""Checks that the Ray of a study still runs, without requests to Ray, which could block."""

from __future__ import annotations

import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol


class RayLostError(BaseException):
    """Ray has ended in the middle of a study.

    This is not an Exception, because Tune would clean up after one and wait a minute for the lost
    Ray.
    """

    def keep_all(self) -> None:
        """Keep all objects that refer to the lost Ray alive until the process ends.

        When Tune's placement groups are destroyed, they ask Ray to remove them and wait for ever.
        """
        # The traceback refers to these objects, and a frozen cycle is never collected.
        self._myself = self
        gc.freeze()


_ESSENTIAL = ("gcs_server", "raylet")
"""Ray cannot go on when one of these processes has ended."""

# A head that was silent for so long is taken as lost. Ray itself kills a driver's process that has
# not reached its head for 60 s.
_SILENT_S = 30.0
_ASK_EACH_S = 2.0
_CONNECT_TIMEOUT_S = 2.0


class Watch(Protocol):
    """Watches one Ray."""

    def ended(self) -> str | None:
        """Return which part of Ray has ended, as text, or None if all runs; never wait."""


class OwnProcesses:
    """The processes of Ray that this process has started since this object was made.

    They are found in /proc. On systems without it, `ended` always returns None.
    """

    def __init__(self, package: Path) -> None:
        self._package = str(package)
        self._before = set(_children())
        self._essential: dict[int, str] = {}

    def ended(self) -> str | None:
        # Tune asks at each of its steps, and listing all processes of a busy machine takes long.
        if len(self._essential) < len(_ESSENTIAL):
            self._find_essential()
        for pid, name in self._essential.items():
            child = _child(pid)
            if child is None or not child.runs:
                return f"its process {name} (pid {pid}) has ended"
        return None

    def _find_essential(self) -> None:
        for pid, child in _children().items():
            if child.name in _ESSENTIAL and pid not in self._before:
                self._essential[pid] = child.name

    def kill(self) -> None:
        """Kill all of them: the remaining processes of a failed start would wait for ever."""
        for pid in _children().keys() - self._before:
            with suppress(OSError):
                if self._package in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                    os.kill(pid, signal.SIGKILL)


class Head:
    """The head, at HOST:PORT, of a cluster that was joined."""

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._clock = clock
        self._asked_s = self._answered_s = clock()

    def ended(self) -> str | None:
        now_s = self._clock()
        if now_s - self._asked_s >= _ASK_EACH_S:
            self._asked_s = now_s
            with suppress(OSError):
                where = (self._host, int(self._port))
                socket.create_connection(where, timeout=_CONNECT_TIMEOUT_S).close()
                self._answered_s = now_s
        silent_s = now_s - self._answered_s
        if silent_s < _SILENT_S:
            return None
        return f"its head at {self._host}:{self._port} did not answer for {silent_s:.0f} s"


_watches: list[Watch] = []
"""The watches of the running Ray; a process has at most one Ray."""


def begin_watch(watch: Watch) -> None:
    """Let `require_alive` check this watch from now on."""
    _watches.append(watch)


def end_watch() -> None:
    """Stop all checks, because Ray is about to end."""
    _watches.clear()


def require_alive() -> None:
    """Raise RayLostError if the running Ray has lost an essential part."""
    for watch in _watches:
        if ended := watch.ended():
            raise RayLostError(
                f"Ray: must run until the study has ended, got: {ended}; its logs may say why; "
                "give the same command again to go on"
            )


class _Child(NamedTuple):
    name: str
    runs: bool


def _children() -> dict[int, _Child]:
    """Return this process's children by pid."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return {pid: child for pid in pids if (child := _child(pid)) is not None}


def _child(pid: int) -> _Child | None:
    """Return the child with this pid; None if this process has no such child."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = stat.rpartition(")")
    state, parent = tail.split()[:2]
    if int(parent) != os.getpid():
        return None
    return _Child(head.partition("(")[2], state not in "ZX")
