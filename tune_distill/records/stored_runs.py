"""The runs of a store: identity and checkpoint while they train, student and record at the end."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tune_distill.records.digests import DamagedError, digest_of_bytes, digests_in
from tune_distill.records.entries import Entries
from tune_distill.records.refusals import explained_reading
from tune_distill.records.runs import RunRecord, StoredRun
from tune_distill.records.sealed import NewerRecordError, Sealed, seal
from tune_distill.records.verified import read_bytes, read_sealed, reading_verified_folder
from tune_distill.spec.keys import canonical_json

_STUDENT = "student-"
_IDENTITY = "identity.json"
_KEY = re.compile(r"[0-9a-f]{64}")


class StoredRuns(Entries):
    """The runs of a store, by run key."""

    def has_run(self, run_key: str) -> bool:
        """Return whether the run is finished; set it aside if a file is not as stored."""
        stored = self._stored_run(run_key)
        return stored is not None and self.files_are_whole(_run(run_key), stored)

    def run(self, run_key: str) -> RunRecord | None:
        """Return the finished run's record, or None; set a damaged run aside."""
        stored = self._stored_run(run_key)
        return None if stored is None else stored.content.record

    @contextmanager
    def student(self, run_key: str) -> Iterator[Path]:
        """Yield a folder with the finished run's student after checking its files.

        Raises:
            DamagedError: a file is not what was stored.
            FileNotFoundError: the run is not finished, or was set aside.
        """
        stored = self._stored_run(run_key)
        if stored is None:
            raise FileNotFoundError(self.place.where(_run(run_key)))
        student = stored.content.student
        files = {
            name.removeprefix(f"{student}/"): digest
            for name, digest in stored.files.items()
            if name.startswith(f"{student}/")
        }
        folder = f"{_run(run_key)}/{student}"
        with reading_verified_folder(self.place, folder, files) as path:
            yield path

    def begin_run(self, run_key: str, identity: Mapping[str, Any]) -> None:
        """Store the run's identity, so that later misses can be explained by comparison with it."""
        name, content = f"{_run(run_key)}/{_IDENTITY}", canonical_json(identity).encode()
        try:
            found = read_bytes(self.place, name)
            if found not in (None, content):
                raise DamagedError("it is not the identity that the run's key is made of")
        except DamagedError as error:
            self.set_aside_damaged(name, error)
            found = None
        if found is None:
            self.place.create(name, content)

    def has_checkpoint(self, run_key: str) -> bool:
        """Return whether the run has a checkpoint to resume from."""
        with explained_reading(self.place.where, _run(run_key)):
            return self.place.exists(_checkpoint(run_key))

    @contextmanager
    def checkpoint(self, run_key: str) -> Iterator[Path]:
        """Yield the checkpoint's file. The caller checks its content.

        Raises:
            FileNotFoundError: there is no checkpoint.
            DamagedError: it is not a regular file.
        """
        name = _checkpoint(run_key)
        with ExitStack() as stack:
            with explained_reading(self.place.where, name):
                path = stack.enter_context(self.place.reading(name))
            yield path

    def save_checkpoint(self, run_key: str, save: Callable[[Path], None]) -> None:
        """Replace the checkpoint by the file that `save` writes."""
        with self.place.writing(_checkpoint(run_key)) as path:
            save(path)

    def set_checkpoint_aside(self, run_key: str, error: Exception) -> None:
        """Report the checkpoint as damaged by `error`, and rename it."""
        self.set_aside_damaged(_checkpoint(run_key), error)

    def finish_run(
        self,
        run_key: str,
        identity: Mapping[str, Any],
        record: RunRecord,
        save: Callable[[Path], None],
    ) -> None:
        """Store the run's student, which `save` writes, and then its record.

        If another process has finished the run in the meantime, its record is kept.
        """
        if not self.has_run(run_key):
            # Each writer has its own student folder, and the first to write the record wins: the
            # weights of another writer may differ in the last digits from what the record says.
            student = f"{_STUDENT}{uuid.uuid4().hex[:12]}"
            with self.place.writing_folder(f"{_run(run_key)}/{student}") as folder:
                save(folder)
                found = digests_in(folder)
            self.begin_run(run_key, identity)
            files = {f"{student}/{name}": digest for name, digest in found.items()}
            files[_IDENTITY] = digest_of_bytes(canonical_json(identity).encode())
            content = {"record": asdict(record), "student": student}
            sealed = seal("run", {"run": run_key}, content, files)
            self.place.create(f"{_run(run_key)}/run.json", sealed)
        self._clear(run_key)

    def set_run_aside(self, run_key: str, error: Exception) -> None:
        """Report the run as damaged by `error`, and rename it."""
        self.set_aside_damaged(_run(run_key), error)

    def discard_run(self, run_key: str) -> None:
        """Remove the run: its record, its checkpoint and its student."""
        self.place.remove(f"{_run(run_key)}/run.json")
        self._clear(run_key)

    def _stored_run(self, run_key: str) -> Sealed[StoredRun] | None:
        return self.read_record(_run(run_key), "run.json", "run", {"run": run_key}, StoredRun)

    def _clear(self, run_key: str) -> None:
        """Remove the files and folders that the run's record does not name."""
        self.place.remove(_checkpoint(run_key))
        stored = self._stored_run(run_key)
        student = None if stored is None else stored.content.student
        for name in self.place.names(_run(run_key)):
            if name.startswith(_STUDENT) and name != student:
                self.place.remove_folder(f"{_run(run_key)}/{name}")
        self.place.remove_abandoned(_run(run_key))

    def identities(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield keys and identities of the complete runs, to compare others with.

        Runs of former studies and other versions are among them. Unreadable ones are skipped and
        left as they are.
        """
        with explained_reading(self.place.where, "runs"):
            keys = self.place.names("runs")
        for key in keys:
            if _KEY.fullmatch(key):
                identity = self._identity(key)
                if identity is not None:
                    yield key, identity

    def _identity(self, run_key: str) -> dict[str, Any] | None:
        name = f"{_run(run_key)}/run.json"
        try:
            if read_sealed(self.place, name, "run", {"run": run_key}, StoredRun) is None:
                return None
            content = read_bytes(self.place, f"{_run(run_key)}/{_IDENTITY}")
        except (DamagedError, NewerRecordError):
            return None
        if content is None or digest_of_bytes(content).sha256 != run_key:
            return None
        identity: dict[str, Any] = json.loads(content)
        return identity


def _run(run_key: str) -> str:
    return f"runs/{run_key}"


def _checkpoint(run_key: str) -> str:
    return f"{_run(run_key)}/checkpoint.safetensors"
