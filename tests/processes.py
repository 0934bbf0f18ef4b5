"""Processes as /proc shows them, and waiting for what they do."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    """The condition holds.

    Raises:
        AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Process:
    """What /proc tells of a process."""

    pid: int
    parent: int
    session: int
    command: str

    @property
    def is_raylet(self) -> bool:
        return Path(self.command.split("\0")[0]).name == "raylet"


def processes() -> Iterator[Process]:
    """All that run now; those that have ended and wait for their parents do not."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if fields[0] != "Z":
                yield Process(int(folder.name), int(fields[1]), int(fields[3]), command)


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel hands out by itself."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


def kill_all(pids: Callable[[], list[int]]) -> None:
    """SIGKILL to all of these, and to those that they start meanwhile, until none is left."""

    def none_left() -> bool:
        for pid in (left := pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_left, "the end of processes that were killed", 30)
