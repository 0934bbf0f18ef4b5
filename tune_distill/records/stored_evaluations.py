"""The evaluations of a store: scored answers, and the record that completes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tune_distill.records.digests import DamagedError, FileDigest, digest_of
from tune_distill.records.entries import Entries
from tune_distill.records.runs import EvaluationRecord
from tune_distill.records.sealed import Sealed, seal
from tune_distill.records.verified import read_file, require_file
from tune_distill.spec.errors import StoreError

_PREDICTIONS = "predictions.parquet"


class StoredEvaluations(Entries):
    """The evaluations of a store, by evaluation key."""

    def has_evaluation(self, evaluation_key: str) -> bool:
        """Return whether the evaluation is finished; set it aside if its answers are damaged.

        Remote answers are downloaded to be checked.
        """
        stored = self._stored_evaluation(evaluation_key)
        if stored is None:
            return False
        try:
            require_file(self.place, *_predictions(evaluation_key, stored))
        except DamagedError as error:
            self.set_aside_damaged(_evaluation(evaluation_key), error)
            return False
        return True

    def evaluation(self, evaluation_key: str) -> EvaluationRecord | None:
        """Return the evaluation's record, or None; set a damaged evaluation aside."""
        stored = self._stored_evaluation(evaluation_key)
        return None if stored is None else stored.content

    def predictions(self, evaluation_key: str) -> bytes:
        """Return the evaluation's scored answers, a checked Parquet file.

        Raises:
            StoreError: the answers are missing, or are damaged and were set aside.
        """
        stored = self._stored_evaluation(evaluation_key)
        if stored is None:
            raise self._lost(evaluation_key, "none that is whole")
        try:
            return read_file(self.place, *_predictions(evaluation_key, stored))
        except DamagedError as error:
            self.set_aside_damaged(_evaluation(evaluation_key), error)
            raise self._lost(evaluation_key, "damaged ones") from error

    def where_predictions(self, evaluation_key: str) -> str:
        """Return the path or URI of the answers, for messages."""
        return self.place.where(f"{_evaluation(evaluation_key)}/{_PREDICTIONS}")

    def save_evaluation(
        self,
        evaluation_key: str,
        run_key: str,
        record: EvaluationRecord,
        save_predictions: Callable[[Path], None],
    ) -> None:
        """Store an evaluation of the run: predictions first, the record last."""
        folder = _evaluation(evaluation_key)
        with self.place.writing(f"{folder}/{_PREDICTIONS}") as path:
            save_predictions(path)
            files = {_PREDICTIONS: digest_of(path)}
        keys = {"evaluation": evaluation_key, "run": run_key}
        self.write(f"{folder}/evaluation.json", seal("evaluation", keys, asdict(record), files))

    def discard_evaluation(self, evaluation_key: str) -> None:
        """Remove the evaluation."""
        self.place.remove(f"{_evaluation(evaluation_key)}/evaluation.json")

    def _stored_evaluation(self, evaluation_key: str) -> Sealed[EvaluationRecord] | None:
        keys = {"evaluation": evaluation_key}
        folder = _evaluation(evaluation_key)
        return self.read_record(folder, "evaluation.json", "evaluation", keys, EvaluationRecord)

    def _lost(self, evaluation_key: str, got: str) -> StoreError:
        return StoreError(
            f"{self.where_predictions(evaluation_key)}: must hold the predictions that were found "
            f"when the command began, got {got}; run the same command again to make them again"
        )


def _predictions(evaluation_key: str, stored: Sealed[EvaluationRecord]) -> tuple[str, FileDigest]:
    """Return the name and digest of the answers; raise DamagedError if the record has none."""
    digest = stored.files.get(_PREDICTIONS)
    if digest is None:
        raise DamagedError("its record names no predictions")
    return f"{_evaluation(evaluation_key)}/{_PREDICTIONS}", digest


def _evaluation(evaluation_key: str) -> str:
    return f"evaluations/{evaluation_key}"
