"""Optuna's journal of a search, kept in any place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileSymlinkLock,
)

from tune_distill.records.places import Folder, Place
from tune_distill.records.refusals import explained
from tune_distill.spec.errors import StoreError
from tune_distill.tuning.trainable import one_line

_FILE = "optuna.journal"
_SEGMENTS = "journal"

# How many segments are read at once.
_NUM_READERS = 16


def search_storage(place: Place, folder: str) -> optuna.storages.BaseStorage:
    """The storage of the search in `folder`, made if need be; several drivers may share it."""
    # Optuna logs each trial; our own table shows them.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.storages.JournalStorage(_backend(place, folder))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Whatever Optuna raises where a line is not what it wrote.
        where = place.where(folder)
        raise StoreError(
            f"{where}: must hold a search's journal as Optuna wrote it, got {one_line(error)}; "
            f"remove {where}, and the search starts anew; trained runs are kept"
        ) from error


def has_journal(place: Place, folder: str) -> bool:
    """Whether anything of the search is stored."""
    if isinstance(place, Folder):
        return place.path(f"{folder}/{_FILE}").is_file()
    return bool(place.names(f"{folder}/{_SEGMENTS}"))


def _backend(place: Place, folder: str) -> BaseJournalBackend:
    if not isinstance(place, Folder):
        return SegmentedJournal(place, folder)
    return _JournalFile(place.path(f"{folder}/{_FILE}"))


class _JournalFile(JournalFileBackend):
    """One file, appended to, that other tools of Optuna open too."""

    def __init__(self, path: Path) -> None:
        self._path, self._writers = path, JournalFileSymlinkLock(str(path))
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(str(path), self._writers)
            if not self._ends_whole():
                self._cut_last_line()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with explained(self._path):
            super().append_logs(logs)

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            return stream.read() in (b"", b"\n")

    def _cut_last_line(self) -> None:
        """The file is without a line that a full disk or a power cut left without its end: the
        next one would be glued to it."""
        self._writers.acquire()
        try:
            # Another process may have been writing it just now.
            if not self._ends_whole():
                content = self._path.read_bytes()
                os.truncate(self._path, content.rfind(b"\n") + 1)
        finally:
            self._writers.release()


class SegmentedJournal(BaseJournalBackend):
    """A journal where nothing can be appended to a file: each entry is a numbered file of its own.

    A number is taken by the one writer that creates its file, so all readers see the same order.
    """

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, f"{folder}/{_SEGMENTS}"
        # Files are never changed, so what was read once stays true.
        self._logs: list[dict[str, Any]] = []
        self._num_segments = 0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        if not self._num_segments:
            self._read_all()
        while self._read_next() is not None:
            pass
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        content = "".join(lines).encode()
        while not self._place.create(self._name(self._num_segments), content):
            # A repeated request may have been refused for its own first attempt. Each entry has
            # its writer's id, so that nobody else's is the same.
            if self._read_next() == content:
                return

    def _read_all(self) -> None:
        # One after the other, a long search would take minutes to open.
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            names = [f"{self._folder}/{name}" for name in self._place.names(self._folder)]
            for name, content in zip(names, pool.map(self._place.read, names), strict=True):
                self._add(name, content)

    def _read_next(self) -> bytes | None:
        """The next segment, whose logs are now known; none if it is not there yet."""
        name = self._name(self._num_segments)
        try:
            content = self._place.read(name)
        except FileNotFoundError:
            return None
        self._add(name, content)
        return content

    def _add(self, name: str, content: bytes) -> None:
        try:
            if name != self._name(self._num_segments):
                raise ValueError(f"{self._name(self._num_segments)} is missing")
            self._logs += [json.loads(line) for line in content.splitlines()]
        except ValueError as error:
            raise StoreError(
                f"{self._place.where(name)}: must be the next entry of a search's journal, as "
                f"lines of JSON, got {error}; remove {self._place.where(self._folder)}, and the "
                "search starts anew; trained runs are kept"
            ) from error
        self._num_segments += 1

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.jsonl"
