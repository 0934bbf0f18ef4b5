"""Optuna's journal of a search, kept in any place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from tune_distill.records.places import Folder, Place
from tune_distill.spec.errors import StoreError

_FILE = "optuna.journal"
_SEGMENTS = "journal"

# How many segments are read at once.
_NUM_READERS = 16


def search_storage(place: Place, folder: str) -> optuna.storages.BaseStorage:
    """The storage of the search in `folder`, made if need be; several drivers may share it."""
    # Optuna logs each trial; our own table shows them.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.storages.JournalStorage(_backend(place, folder))


def has_journal(place: Place, folder: str) -> bool:
    """Whether anything of the search is stored."""
    if isinstance(place, Folder):
        return place.path(f"{folder}/{_FILE}").is_file()
    return bool(place.names(f"{folder}/{_SEGMENTS}"))


def _backend(place: Place, folder: str) -> BaseJournalBackend:
    if not isinstance(place, Folder):
        return SegmentedJournal(place, folder)
    # One file, appended to, that other tools of Optuna open too.
    path = place.path(f"{folder}/{_FILE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalFileBackend(str(path))


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
