"""Optuna's journal of a search, in any kind of place, for Optuna's own tools.

It has an entry for each trial that ended. We read it only to compare it with the store: a journal
that differs from the store is set aside and made again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileSymlinkLock,
)
from optuna.trial import FrozenTrial

from tune_distill.records.digests import DamagedError, require_regular
from tune_distill.records.places import Folder, Place
from tune_distill.records.refusals import explained
from tune_distill.spec.errors import StoreError
from tune_distill.spec.redaction import one_line

logger = logging.getLogger(__name__)

STUDY_NAME = "tune_distill"
"""The name of the Optuna study in every journal."""

_FILE = "optuna.journal"
_SEGMENTS = "journal"

# How long a writer may hold Optuna's lock; Optuna itself waits as long.
_LOCK_S = 30.0

# The number of segments that are read at once.
_NUM_READERS = 16


class SearchJournal:
    """The journal in a search's folder of a place; its first entry creates it."""

    def __init__(self, place: Place, folder: str, mode: Literal["min", "max"]) -> None:
        self._place, self._folder = place, folder
        self._direction: Literal["maximize", "minimize"]
        self._direction = "maximize" if mode == "max" else "minimize"
        self._name = f"{folder}/{_FILE if isinstance(place, Folder) else _SEGMENTS}"
        self._opened: optuna.Study | None = None

    def append(self, trial: FrozenTrial) -> None:
        """Append an entry for this trial, unless the journal has been damaged meanwhile.

        Raises:
            StoreError: the place refuses.
        """
        try:
            self._study().add_trial(trial)
        except StoreError:
            raise
        # Optuna raises errors of many types for lines that it did not write.
        except Exception as error:
            self._opened = None
            logger.warning(
                "%s: must be a journal of Optuna, got %s; the next command makes it again",
                self._place.where(self._name),
                one_line(error),
            )

    def fault(self, wanted: Iterable[FrozenTrial], known: Iterable[dict[str, Any]]) -> str | None:
        """Return a text about the journal's first fault, or None.

        The journal must have the `wanted` trials, and no trial at a point that is not `known`.
        """
        expected = [_entry(trial) for trial in wanted]
        if isinstance(self._place, Folder):
            # Optuna would block on a pipe, and follow a link.
            try:
                require_regular(self._place.path(self._name))
            except FileNotFoundError:
                pass
            except DamagedError as error:
                return f"got another kind of file: {error}"
        if not self._place.exists(self._name):
            return "got none" if expected else None
        try:
            study = self._study()
            trials = study.get_trials(deepcopy=False)
        except StoreError:
            raise
        # See `append`.
        except Exception as error:
            self._opened = None
            return f"got {one_line(error)}"
        points = list(known)
        entries = [_entry(trial) for trial in trials]
        found = sum(entry in entries for entry in expected)
        if found < len(expected):
            return f"got {found} of them"
        foreign = sum(trial.params not in points for trial in trials)
        if foreign or study.direction.name.lower() != self._direction:
            return f"got {foreign or 'those'} of another search"
        return None

    def make_again(self, trials: Iterable[FrozenTrial]) -> str:
        """Write a new journal with these trials; return a text about what became of the old one."""
        self._opened = None
        done = "made again from the store"
        if self._place.exists(self._name):
            aside = Path(self._place.set_aside(self._name, "damaged")).name
            done = f"set aside as {aside}, and {done}"
        for trial in trials:
            self.append(trial)
        return done

    @property
    def where(self) -> str:
        """Return its path or URI, for messages."""
        return self._place.where(self._name)

    def _study(self) -> optuna.Study:
        if self._opened is None:
            storage = optuna.storages.JournalStorage(self._backend())
            with quiet():
                # create_study writes to the journal each time, so load an existing study.
                if STUDY_NAME in optuna.get_all_study_names(storage):
                    self._opened = optuna.load_study(study_name=STUDY_NAME, storage=storage)
                else:
                    self._opened = optuna.create_study(
                        storage=storage,
                        study_name=STUDY_NAME,
                        direction=self._direction,
                        load_if_exists=True,
                    )
        return self._opened

    def _backend(self) -> BaseJournalBackend:
        if isinstance(self._place, Folder):
            return _JournalFile(self._place.path(self._name))
        return SegmentedJournal(self._place, self._folder)


def _entry(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.params, trial.state, trial.value, trial.intermediate_values


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's logs in this block; our own table shows the trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _remove_stale_lock(lock: Path) -> None:
    """Remove a killed writer's lock, a link to the journal, if the store has moved since.

    Optuna itself takes over an old lock only if the link leads to its journal.
    """
    with suppress(FileNotFoundError):
        age_s = time.time() - lock.lstat().st_mtime
        if lock.is_symlink() and not lock.exists() and age_s > _LOCK_S:
            lock.unlink()


class _JournalFile(JournalFileBackend):
    """A journal in one file, which Optuna's other tools can open."""

    def __init__(self, path: Path) -> None:
        self._path, self._writers = path, JournalFileSymlinkLock(str(path))
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale_lock(path.with_name(f"{path.name}.lock"))
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
        """Remove an incomplete last line, which a full disk or a power cut may have left."""
        self._writers.acquire()
        try:
            # Another process may have been writing it just now.
            if not self._ends_whole():
                content = self._path.read_bytes()
                os.truncate(self._path, content.rfind(b"\n") + 1)
        finally:
            self._writers.release()


class SegmentedJournal(BaseJournalBackend):
    """A journal of numbered files, for places where files cannot be appended to.

    The one writer that creates a file takes its number, so all readers see the same order.
    """

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, f"{folder}/{_SEGMENTS}"
        # Files never change, so each is read only once.
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
            # A request that was repeated may have been refused because its first attempt succeeded.
            # Each entry has its writer's id, so an equal entry is our own.
            if self._read_next() == content:
                return

    def _read_all(self) -> None:
        # Reading one file after the other would take minutes for a long search.
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            names = [f"{self._folder}/{name}" for name in self._place.names(self._folder)]
            for name, content in zip(names, pool.map(self._place.read, names), strict=True):
                self._add(name, content)

    def _read_next(self) -> bytes | None:
        """Read the next segment and return its content; None if it does not exist yet."""
        name = self._name(self._num_segments)
        try:
            content = self._place.read(name)
        except FileNotFoundError:
            return None
        self._add(name, content)
        return content

    def _add(self, name: str, content: bytes) -> None:
        """Add the segment's logs; raise ValueError if it is not the next one, or not JSON lines."""
        expected = self._name(self._num_segments)
        if name != expected:
            raise ValueError(f"{Path(name).name} in place of {Path(expected).name}")
        self._logs += [json.loads(line) for line in content.splitlines()]
        self._num_segments += 1

    def _name(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.jsonl"
