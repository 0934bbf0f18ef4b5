"""The store: complete runs and evaluations by key, in any kind of place.

STORE/runs/<run_key>/identity.json           the identity, whose SHA-256 is the key
                     checkpoint.safetensors  the state of an unfinished training
                     student-<id>/           the trained student, as save_pretrained writes it
                     run.json                losses, cost and the student's folder; written last,
                                             so it marks the run as complete
STORE/evaluations/<evaluation_key>/          predictions.parquet; evaluation.json, written last
STORE/simulators/<pool digest>-v<n>.safetensors
STORE/searches/<search_key>/                 Optuna's journal, and the runs that ASHA pruned

run.json, evaluation.json and the marks of pruned runs are sealed records (see sealed.py): they hold
their own digest, the keys of their entry, and the size and SHA-256 of each of its files.
Checkpoints and simulators contain such a record. Each entry is checked when it is read. A damaged
one is reported and renamed to `<name>.damaged-<n>`, so that it is no longer found.
"""

from __future__ import annotations

from dataclasses import asdict

from tune_distill.records.digests import DamagedError
from tune_distill.records.refusals import explained_reading
from tune_distill.records.runs import HistoryRow, PrunedRun
from tune_distill.records.sealed import Sealed, seal
from tune_distill.records.stored_evaluations import StoredEvaluations
from tune_distill.records.stored_runs import StoredRuns
from tune_distill.records.verified import read_bytes
from tune_distill.spec.errors import StoreError


class Store(StoredRuns, StoredEvaluations):
    """Runs, evaluations, simulators and searches in a place.

    Raises:
        StoreError: from any method: a file may not be read or written, or a newer version wrote it.
    """

    # Simulators

    def simulator(self, name: str) -> bytes | None:
        """Return the content of the simulator's file, or None. The caller checks the content."""
        try:
            return read_bytes(self.place, _simulator(name))
        except DamagedError as error:
            self.set_simulator_aside(name, error)
            return None

    def save_simulator(self, name: str, content: bytes) -> None:
        self.write(_simulator(name), content)

    def set_simulator_aside(self, name: str, error: Exception) -> None:
        """Report the simulator as damaged by `error`, and rename it."""
        self.set_aside_damaged(_simulator(name), error)

    # Searches

    def search_folder(self, search_key: str) -> str:
        """Return the name of the search's folder."""
        return f"searches/{search_key}"

    def is_pruned(self, search_key: str, run_key: str) -> bool:
        """Return whether this search has stopped the run early; set a damaged mark aside."""
        return self._stored_pruned(search_key, run_key) is not None

    def pruned_history(self, search_key: str, run_key: str) -> tuple[HistoryRow, ...]:
        """Return the history of a pruned run.

        Raises:
            StoreError: its mark is missing, or is damaged and was set aside.
        """
        stored = self._stored_pruned(search_key, run_key)
        if stored is None:
            raise StoreError(
                f"{self.place.where(_pruned(search_key, run_key))}: must hold the history of a "
                "pruned run, got none that is whole; run the same command again to train it again"
            )
        return stored.content.history

    def mark_pruned(self, search_key: str, run_key: str, history: tuple[HistoryRow, ...]) -> None:
        """Mark the run as stopped early by this search; other searches may still finish it."""
        keys = {"search": search_key, "run": run_key}
        content = asdict(PrunedRun(history))
        self.write(_pruned(search_key, run_key), seal("pruned", keys, content))

    def discard_search(self, search_key: str) -> None:
        """Set the search's folder aside, so that the search starts over."""
        folder = self.search_folder(search_key)
        with explained_reading(self.place.where, folder):
            exists = self.place.exists(folder)
        if exists:
            self.place.set_aside(folder, "old")

    def _stored_pruned(self, search_key: str, run_key: str) -> Sealed[PrunedRun] | None:
        keys = {"search": search_key, "run": run_key}
        return self.read_record(_pruned(search_key, run_key), "", "pruned", keys, PrunedRun)


def _simulator(name: str) -> str:
    return f"simulators/{name}.safetensors"


def _pruned(search_key: str, run_key: str) -> str:
    return f"searches/{search_key}/pruned/{run_key}.json"
