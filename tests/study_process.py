"""The study command as a process, run to its end or watched and ended by tests."""

from __future__ import annotations

import json
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from tests.processes import kill_all, processes

Event = dict[str, Any]

NOT_IN_A_RESULT = ["training_time_s", "decode_time_s", "examples_per_s", "reused"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tune_distill.study", *arguments]


def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout)


def results_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a trials table that are equal whenever the study runs again."""
    return frame.drop(columns=NOT_IN_A_RESULT)


class StudyProcess:
    """A running study command, whose JSON lines are read as they come.

    Each line is an event; `arrived_s` is the time of its arrival.
    """

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._errors = folder / f"errors-{secrets.token_hex(4)}.log"
        self.events: list[Event] = []
        self._lines: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command(*arguments, "--json"),
                cwd=folder,
                env=environment or None,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def wait_for(self, wanted: Callable[[Event], bool], timeout_s: float = 120) -> Event:
        """Return the first wanted event after those that former calls have looked at.

        Raises:
            AssertionError: it did not come in time, or the command ended without it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            event = self._next(max(0.0, deadline - time.monotonic()))
            assert event is not None, f"the event waited for did not come\n{self.report()}"
            if wanted(event):
                return event

    def arrived(self) -> list[Event]:
        """Return all events that have come so far."""
        while self._next(0) is not None:
            pass
        return self.events

    def wait(self, timeout_s: float = 240) -> int:
        """Wait for the end; return the exit code. `events` then has all events."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the command did not end\n{self.report()}") from None
        while self._next(10) is not None:
            pass
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send the signal to the command, but not to the processes that it has started."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the command and all processes that it has started."""
        self.process.kill()
        self.process.wait()
        kill_all(
            lambda: [process.pid for process in processes() if process.session == self.process.pid]
        )
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def errors(self) -> str:
        """Return what the command has written to standard error."""
        return self._errors.read_text(errors="replace")

    def report(self) -> str:
        """Return the last events and errors, for a failing test."""
        last = "\n".join(json.dumps(event)[:300] for event in self.events[-12:])
        return f"exit code {self.process.poll()}; last events:\n{last}\nerrors:\n{self.errors}"

    def _next(self, timeout_s: float) -> Event | None:
        """Return the next event; None if the output has ended or no event came in time."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is None:
            self._lines.put(None)
            return None
        arrived_s, text = line
        try:
            event = json.loads(text)
        except ValueError:
            raise AssertionError(f"not a line of JSON: {text!r}\n{self.report()}") from None
        self.events.append({**event, "arrived_s": arrived_s})
        return self.events[-1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((time.monotonic(), line))
        self._lines.put(None)
