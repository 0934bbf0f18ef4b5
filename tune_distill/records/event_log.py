"""The event log: `events.jsonl` in a study's results, with one JSON object per line.

It can be read while the study runs and after it died. Several commands may append to one file,
because each line is written by a single call.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tune_distill.records.names import joined
from tune_distill.spec.errors import StoreError
from tune_distill.spec.printable import json_line

EVENTS_FILE = "events.jsonl"

logger = logging.getLogger(__name__)

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class EventLog:
    """The event logs of the studies whose results are in one folder."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._refused = False

    def append(self, event: Mapping[str, Any]) -> None:
        """Append the event to the log of its `study`.

        If a log cannot be written, warn once and stop logging: the study goes on without it.
        """
        if self._refused:
            return
        try:
            path = joined(self._results, f"{event['study']}/{EVENTS_FILE}")
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, json_line(event).encode() + b"\n")
        except (OSError, StoreError) as error:
            self._refused = True
            logger.warning("%s is not written any more: %s", EVENTS_FILE, error)


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, _APPEND, 0o666)
    try:
        # The lock keeps us from reading half of another writer's line. Some shared disks have none.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        # A writer that was killed, or a full disk, may have left half a line.
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
