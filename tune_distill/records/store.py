"""Runs and evaluations are kept by key, and only complete ones are found, in any kind of place.

STORE/runs/<run_key>/identity.json           what the key is made of
                     checkpoint.safetensors  where an unfinished training goes on
                     student-<id>/           the trained student, as save_pretrained makes it
                     run.json                losses, cost and which student; written last: the run
                                             is complete
STORE/evaluations/<evaluation_key>/          predictions.parquet; evaluation.json, written last
STORE/simulators/<pool digest>-v<n>.safetensors
STORE/searches/<search_key>/                 Optuna's journal, and the runs that ASHA pruned
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tune_distill.records.places import Place
from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.records.runs import EvaluationRecord, HistoryRow, RunRecord
from tune_distill.spec.errors import StoreError
from tune_distill.spec.keys import canonical_json

logger = logging.getLogger(__name__)


Record = TypeVar("Record")

_STUDENT = "student-"
# Where runs of the first versions have theirs.
_FORMER = "student"


class Store:
    """Runs, evaluations, simulators and searches in a place."""

    def __init__(self, place: Place) -> None:
        self.place = place

    # Runs

    def has_run(self, run_key: str) -> bool:
        """Whether the run is finished and whole; a damaged one is set aside."""
        return self.run(run_key) is not None

    def run(self, run_key: str) -> RunRecord | None:
        """The finished run, or None. A damaged one is reported, set aside, and not found."""
        return self._read(_run(run_key), "run.json", _run_record)

    def student(self, run_key: str) -> AbstractContextManager[Path]:
        """A folder with the finished run's student, as save_pretrained made it.

        Raises:
            FileNotFoundError: the run is not finished, or was damaged.
        """
        student = self._student(run_key)
        if student is None:
            raise FileNotFoundError(self.place.where(_run(run_key)))
        return self.place.reading_folder(f"{_run(run_key)}/{student}")

    def begin_run(self, run_key: str, identity: Mapping[str, Any]) -> None:
        """The run has its identity, for others to compare with."""
        name = f"{_run(run_key)}/identity.json"
        if not self.place.exists(name):
            self.place.create(name, canonical_json(identity).encode())

    def has_checkpoint(self, run_key: str) -> bool:
        """Whether an unfinished training can go on."""
        return self.place.exists(_checkpoint(run_key))

    def checkpoint(self, run_key: str) -> AbstractContextManager[Path]:
        """The checkpoint's file.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.place.reading(_checkpoint(run_key))

    def save_checkpoint(self, run_key: str, save: Callable[[Path], None]) -> None:
        """The checkpoint that `save` wrote replaces the one before."""
        with self.place.writing(_checkpoint(run_key)) as path:
            save(path)

    def set_checkpoint_aside(self, run_key: str, error: Exception) -> None:
        """The checkpoint, damaged as `error` says, is reported and not found any more."""
        self._set_aside_damaged(_checkpoint(run_key), error)

    def finish_run(self, run_key: str, record: RunRecord, save: Callable[[Path], None]) -> None:
        """The run is complete: its student is stored by `save`, then its record.

        A run that another process has finished in the meantime stays as it is.
        """
        if not self.has_run(run_key):
            # Each writer has a folder of its own, and the first to name it in the record wins:
            # another one's weights may differ in the last digits from what the record tells.
            student = f"{_STUDENT}{uuid.uuid4().hex[:12]}"
            with self.place.writing_folder(f"{_run(run_key)}/{student}") as folder:
                save(folder)
            content = canonical_json(asdict(record) | {"student": student}).encode()
            self.place.create(f"{_run(run_key)}/run.json", content)
        self._clear(run_key)

    def set_run_aside(self, run_key: str, error: Exception) -> None:
        """The run, damaged as `error` says, is reported and not found any more."""
        self._set_aside_damaged(_run(run_key), error)

    def discard_run(self, run_key: str) -> None:
        """The run is not found any more; whatever was made of it is set aside or gone."""
        self.place.remove(f"{_run(run_key)}/run.json")
        self._clear(run_key)

    def _student(self, run_key: str) -> str | None:
        """The name of the folder of the finished run's student."""
        return self._read(_run(run_key), "run.json", lambda raw: raw.get("student", _FORMER))

    def _clear(self, run_key: str) -> None:
        """Nothing but what the run's record speaks of lies in its folder."""
        self.place.remove(_checkpoint(run_key))
        student = self._student(run_key)
        for name in self.place.names(_run(run_key)):
            if name.startswith(_STUDENT) and name != student:
                self.place.remove_folder(f"{_run(run_key)}/{name}")
        self.place.remove_abandoned(_run(run_key))

    def identities(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and identities of the complete runs."""
        for key in self.place.names("runs"):
            # What was set aside has a dot in its name.
            if "." not in key and self.has_run(key):
                identity = self._read(_run(key), "identity.json", dict[str, Any])
                if identity is not None:
                    yield key, identity

    # Evaluations

    def has_evaluation(self, evaluation_key: str) -> bool:
        """Whether the evaluation is finished and whole; a damaged one is set aside."""
        if self.evaluation(evaluation_key) is None:
            return False
        try:
            with self.predictions(evaluation_key) as path:
                pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            if says_nothing_of_content(error):
                raise
            self._set_aside_damaged(_evaluation(evaluation_key), error)
            return False
        return True

    def evaluation(self, evaluation_key: str) -> EvaluationRecord | None:
        """The evaluation, or None. A damaged one is reported, set aside, and not found."""
        return self._read(
            _evaluation(evaluation_key),
            "evaluation.json",
            lambda raw: EvaluationRecord(**raw),
        )

    def predictions(self, evaluation_key: str) -> AbstractContextManager[Path]:
        """The evaluation's scored answers as a Parquet file.

        Raises:
            FileNotFoundError: there are none.
        """
        return self.place.reading(_predictions(evaluation_key))

    def where_predictions(self, evaluation_key: str) -> str:
        """Where they are, in words that a user can look them up by."""
        return self.place.where(_predictions(evaluation_key))

    def save_evaluation(
        self,
        evaluation_key: str,
        record: EvaluationRecord,
        save_predictions: Callable[[Path], None],
    ) -> None:
        """The evaluation is complete: predictions first, the record last."""
        with self.place.writing(_predictions(evaluation_key)) as path:
            save_predictions(path)
        content = canonical_json(asdict(record)).encode()
        self._write(f"{_evaluation(evaluation_key)}/evaluation.json", content)

    def discard_evaluation(self, evaluation_key: str) -> None:
        """The evaluation is not found any more."""
        self.place.remove(f"{_evaluation(evaluation_key)}/evaluation.json")

    # Simulators

    def simulator(self, name: str) -> bytes | None:
        """The simulator's file, or None."""
        try:
            return self.place.read(_simulator(name))
        except FileNotFoundError:
            return None

    def save_simulator(self, name: str, content: bytes) -> None:
        self._write(_simulator(name), content)

    def set_simulator_aside(self, name: str, error: Exception) -> None:
        """The simulator, damaged as `error` says, is reported and not found any more."""
        self._set_aside_damaged(_simulator(name), error)

    # Searches

    def search_folder(self, search_key: str) -> str:
        """Where the search keeps Optuna's journal, by name."""
        return f"searches/{search_key}"

    def is_pruned(self, search_key: str, run_key: str) -> bool:
        return self.place.exists(_pruned(search_key, run_key))

    def pruned_history(self, search_key: str, run_key: str) -> tuple[HistoryRow, ...]:
        """What a pruned trial reported before it was stopped."""
        name = _pruned(search_key, run_key)
        try:
            return tuple(HistoryRow(**row) for row in json.loads(self.place.read(name)))
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self.place.where(name)}: must be the history of a pruned run, got {error}; "
                "remove it, and the same command trains the run again"
            ) from error

    def mark_pruned(self, search_key: str, run_key: str, history: tuple[HistoryRow, ...]) -> None:
        """This search has stopped the run early; other searches may still finish it."""
        rows = canonical_json([asdict(row) for row in history])
        self._write(_pruned(search_key, run_key), rows.encode())

    def discard_search(self, search_key: str) -> None:
        """The search starts from nothing; its old folder is set aside."""
        if self.place.exists(self.search_folder(search_key)):
            self.place.set_aside(self.search_folder(search_key), "old")

    def _write(self, name: str, content: bytes) -> None:
        with self.place.writing(name) as path:
            path.write_bytes(content)

    def _read(self, folder: str, name: str, parse: Callable[[Any], Record]) -> Record | None:
        """Only a missing file is a miss; a damaged entry is not silently made again."""
        try:
            return parse(json.loads(self.place.read(f"{folder}/{name}")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._set_aside_damaged(folder, error)
            return None

    def _set_aside_damaged(self, name: str, error: Exception) -> None:
        aside = Path(self.place.set_aside(name, "damaged")).name
        logger.warning("%s: damaged (%s); set aside as %s", self.place.where(name), error, aside)


def _run(run_key: str) -> str:
    return f"runs/{run_key}"


def _checkpoint(run_key: str) -> str:
    return f"{_run(run_key)}/checkpoint.safetensors"


def _evaluation(evaluation_key: str) -> str:
    return f"evaluations/{evaluation_key}"


def _predictions(evaluation_key: str) -> str:
    return f"{_evaluation(evaluation_key)}/predictions.parquet"


def _simulator(name: str) -> str:
    return f"simulators/{name}.safetensors"


def _pruned(search_key: str, run_key: str) -> str:
    return f"searches/{search_key}/pruned/{run_key}.json"


def _run_record(raw: dict[str, Any]) -> RunRecord:
    history = tuple(HistoryRow(**row) for row in raw.pop("history"))
    fields = {name: value for name, value in raw.items() if name != "student"}
    return RunRecord(**fields, history=history)
