"""Processes in /proc, and waiting for conditions."""

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
    """Wait until the condition holds.

    Raises:
        AssertionError: it does not hold within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Process:
    """A process as shown in /proc."""

    pid: int
    parent: int
    session: int
    command: str

    @property
    def is_raylet(self) -> bool:
        return Path(self.command.split("\0")[0]).name == "raylet"


def processes() -> Iterator[Process]:
    """Yield all running processes, without zombies."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            if fields[0] != "Z":
                yield Process(int(folder.name), int(fields[1]), int(fields[3]), command)


def free_port() -> int:
    """Return a port on which nothing listens, below the kernel's ephemeral ports."""
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
    """Kill all of these processes, and those that they start meanwhile, until none is left."""

    def none_left() -> bool:
        for pid in (left := pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_left, "the end of processes that were killed", 30)
