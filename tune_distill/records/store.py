"""Runs and evaluations are kept by key, and only complete ones are found.

STORE/runs/<run_key>/identity.json           what the key is made of
                     checkpoint.safetensors  where an unfinished training goes on
                     student/                the trained student, as save_pretrained makes it
                     run.json                losses and cost; written last: the run is complete
STORE/evaluations/<evaluation_key>/          predictions.parquet; evaluation.json, written last
STORE/simulators/<pool digest>-v<n>.safetensors
STORE/searches/<search_key>/                 Optuna's journal, and the runs that ASHA pruned
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq

from tune_distill.records.files import atomic_directory, atomic_file, explained, write_text
from tune_distill.spec.errors import StoreError
from tune_distill.spec.keys import canonical_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistoryRow:
    """Losses at one step. `train_loss` is the mean since the row before of what was minimised,
    with label smoothing and times ce_weight; `unsmoothed_train_loss` is without either.
    `eval_loss` is none between evaluations."""

    step: int
    epoch: float
    train_loss: float
    unsmoothed_train_loss: float
    eval_loss: float | None
    learning_rate: float
    elapsed_s: float


def without_eval_loss(history: Iterable[HistoryRow]) -> tuple[HistoryRow, ...]:
    """The history of a training whose evaluations were of other examples than are asked for."""
    return tuple(replace(row, eval_loss=None) for row in history)


@dataclass(frozen=True)
class RunRecord:
    """What a finished training leaves beside its student.

    `eval_loss` and those of `history` were measured on the examples of `validation_digest`.
    """

    num_train: int
    num_steps: int
    final_train_loss: float
    eval_loss: float
    validation_digest: str
    training_time_s: float
    examples_per_s: float
    source_truncated_fraction: float
    target_truncated_fraction: float
    device: str
    history: tuple[HistoryRow, ...]


@dataclass(frozen=True)
class EvaluationRecord:
    """What a decoding and scoring of a run leaves beside its predictions."""

    metrics: dict[str, float | None]
    eval_loss: float
    num_validation: int
    decode_time_s: float


Record = TypeVar("Record")


class Store:
    """A folder of runs, evaluations, simulators and searches."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # Runs

    def run_dir(self, run_key: str) -> Path:
        return self.root / "runs" / run_key

    def student_dir(self, run_key: str) -> Path:
        return self.run_dir(run_key) / "student"

    def has_run(self, run_key: str) -> bool:
        """Whether the run is finished and whole; a damaged one is set aside."""
        return self.run(run_key) is not None

    def run(self, run_key: str) -> RunRecord | None:
        """The finished run, or None. A damaged one is reported, set aside, and not found."""
        return self._read(self.run_dir(run_key), "run.json", _run_record)

    def begin_run(self, run_key: str, identity: Mapping[str, Any]) -> None:
        """The run has its folder and its identity, for others to compare with."""
        path = self.run_dir(run_key) / "identity.json"
        if not path.exists():
            write_text(path, canonical_json(identity))

    def checkpoint_path(self, run_key: str) -> Path:
        """Where an unfinished training goes on, if the file exists."""
        return self.run_dir(run_key) / "checkpoint.safetensors"

    def save_checkpoint(self, run_key: str, save: Callable[[Path], None]) -> None:
        """The checkpoint that `save` wrote replaces the one before."""
        with atomic_file(self.checkpoint_path(run_key)) as temporary:
            save(temporary)

    def finish_run(self, run_key: str, record: RunRecord, save: Callable[[Path], None]) -> None:
        """The run is complete: its student is stored by `save`, then its record."""
        with atomic_directory(self.student_dir(run_key)) as temporary:
            save(temporary)
        write_text(self.run_dir(run_key) / "run.json", canonical_json(asdict(record)))
        self.checkpoint_path(run_key).unlink(missing_ok=True)

    def discard_run(self, run_key: str) -> None:
        """The run is not found any more; whatever was made of it is set aside or gone."""
        (self.run_dir(run_key) / "run.json").unlink(missing_ok=True)
        self.checkpoint_path(run_key).unlink(missing_ok=True)

    def identities(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and identities of the complete runs."""
        for path in sorted((self.root / "runs").glob("*/identity.json")):
            key = path.parent.name
            # What was set aside has a dot in its name.
            if "." not in key and self.has_run(key):
                identity = self._read(path.parent, path.name, dict[str, Any])
                if identity is not None:
                    yield key, identity

    # Evaluations

    def evaluation_dir(self, evaluation_key: str) -> Path:
        return self.root / "evaluations" / evaluation_key

    def has_evaluation(self, evaluation_key: str) -> bool:
        """Whether the evaluation is finished and whole; a damaged one is set aside."""
        if self.evaluation(evaluation_key) is None:
            return False
        try:
            pq.read_metadata(self.predictions_path(evaluation_key))
        except (OSError, pa.ArrowException) as error:
            self._set_aside_damaged(self.evaluation_dir(evaluation_key), error)
            return False
        return True

    def evaluation(self, evaluation_key: str) -> EvaluationRecord | None:
        """The evaluation, or None. A damaged one is reported, set aside, and not found."""
        return self._read(
            self.evaluation_dir(evaluation_key),
            "evaluation.json",
            lambda raw: EvaluationRecord(**raw),
        )

    def predictions_path(self, evaluation_key: str) -> Path:
        return self.evaluation_dir(evaluation_key) / "predictions.parquet"

    def save_evaluation(
        self,
        evaluation_key: str,
        record: EvaluationRecord,
        save_predictions: Callable[[Path], None],
    ) -> None:
        """The evaluation is complete: predictions first, the record last."""
        with atomic_file(self.predictions_path(evaluation_key)) as temporary:
            save_predictions(temporary)
        path = self.evaluation_dir(evaluation_key) / "evaluation.json"
        write_text(path, canonical_json(asdict(record)))

    def discard_evaluation(self, evaluation_key: str) -> None:
        """The evaluation is not found any more."""
        (self.evaluation_dir(evaluation_key) / "evaluation.json").unlink(missing_ok=True)

    # Simulators

    def simulator_path(self, name: str) -> Path:
        return self.root / "simulators" / f"{name}.safetensors"

    def save_simulator(self, name: str, content: bytes) -> None:
        with atomic_file(self.simulator_path(name)) as temporary:
            temporary.write_bytes(content)

    # Searches

    def journal_path(self, search_key: str) -> Path:
        """Optuna's journal, where the search has begun."""
        return self.root / "searches" / search_key / "optuna.journal"

    def begin_search(self, search_key: str) -> None:
        """The search has its folder."""
        path = self.journal_path(search_key)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    def is_pruned(self, search_key: str, run_key: str) -> bool:
        return self._pruned_path(search_key, run_key).is_file()

    def pruned_history(self, search_key: str, run_key: str) -> tuple[HistoryRow, ...]:
        """What a pruned trial reported before it was stopped."""
        path = self._pruned_path(search_key, run_key)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return tuple(HistoryRow(**row) for row in raw)
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{path}: must be the history of a pruned run, got {error}; remove it, and the "
                "same command trains the run again"
            ) from error

    def mark_pruned(self, search_key: str, run_key: str, history: tuple[HistoryRow, ...]) -> None:
        """This search has stopped the run early; other searches may still finish it."""
        rows = canonical_json([asdict(row) for row in history])
        write_text(self._pruned_path(search_key, run_key), rows)

    def discard_search(self, search_key: str) -> None:
        """The search starts from nothing; its old folder is set aside."""
        set_aside(self.root / "searches" / search_key, "old")

    def _pruned_path(self, search_key: str, run_key: str) -> Path:
        return self.root / "searches" / search_key / "pruned" / f"{run_key}.json"

    def _read(self, folder: Path, name: str, parse: Callable[[Any], Record]) -> Record | None:
        """Only a missing file is a miss; a damaged entry is not silently made again."""
        try:
            return parse(json.loads((folder / name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._set_aside_damaged(folder, error)
            return None

    def _set_aside_damaged(self, folder: Path, error: Exception) -> None:
        aside = set_aside(folder, "damaged")
        logger.warning("%s: damaged (%s); set aside as %s", folder, error, aside.name)


def set_aside(path: Path, why: str) -> Path:
    """`path` is renamed to the first free `<name>.<why>-<n>`; the new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    if path.exists():
        os.replace(path, aside)
    return aside


def local_path(uri: str, flag: str) -> Path:
    """The folder that `uri` (a path, or file://...) names.

    Raises:
        StoreError: another kind of URI.
    """
    parsed = urlparse(uri)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        return Path(unquote(parsed.path)).absolute()
    if parsed.scheme == "file":
        raise StoreError(f"{flag}: a file:// URI must be file:///absolute/path, got {uri}")
    if "://" in uri:
        raise StoreError(
            f"{flag}: must be a path or a file:// URI, got {uri}; mount it as a folder"
        )
    return Path(uri).expanduser().absolute()


def _run_record(raw: dict[str, Any]) -> RunRecord:
    history = tuple(HistoryRow(**row) for row in raw.pop("history"))
    return RunRecord(**raw, history=history)
