"""Runs and evaluations are kept by key, and only whole ones are found, in any kind of place.

STORE/runs/<run_key>/identity.json           what the key is made of: the key is its SHA-256
                     checkpoint.safetensors  where an unfinished training goes on
                     student-<id>/           the trained student, as save_pretrained makes it
                     run.json                losses, cost and which student; written last: the run
                                             is complete
STORE/evaluations/<evaluation_key>/          predictions.parquet; evaluation.json, written last
STORE/simulators/<pool digest>-v<n>.safetensors
STORE/searches/<search_key>/                 Optuna's journal, and the runs that ASHA pruned

run.json, evaluation.json and the marks of pruned runs are sealed (see sealed.py): they carry their
own digest, the keys that they belong to, and size and SHA-256 of each file that they complete.
Checkpoints and simulators carry such a record inside. All of it is checked when it is read: what is
not as it was stored is reported, set aside as `<name>.damaged-<n>`, and not found any more.
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
        StoreError: of any method: a file may not be read or written, or a newer version wrote it.
    """

    # Simulators

    def simulator(self, name: str) -> bytes | None:
        """The simulator's file, or None. Its reader checks what it holds."""
        try:
            return read_bytes(self.place, _simulator(name))
        except DamagedError as error:
            self.set_simulator_aside(name, error)
            return None

    def save_simulator(self, name: str, content: bytes) -> None:
        self.write(_simulator(name), content)

    def set_simulator_aside(self, name: str, error: Exception) -> None:
        """Report the simulator, damaged as `error` says; it is not found any more."""
        self.set_aside_damaged(_simulator(name), error)

    # Searches

    def search_folder(self, search_key: str) -> str:
        """Where the search keeps Optuna's journal, by name."""
        return f"searches/{search_key}"

    def is_pruned(self, search_key: str, run_key: str) -> bool:
        """Whether this search has stopped the run early. A damaged mark is set aside."""
        return self._stored_pruned(search_key, run_key) is not None

    def pruned_history(self, search_key: str, run_key: str) -> tuple[HistoryRow, ...]:
        """What a pruned run reported before it was stopped.

        Raises:
            StoreError: its mark is missing or damaged, and is set aside.
        """
        stored = self._stored_pruned(search_key, run_key)
        if stored is None:
            raise StoreError(
                f"{self.place.where(_pruned(search_key, run_key))}: must hold the history of a "
                "pruned run, got none that is whole; run the same command again to train it again"
            )
        return stored.content.history

    def mark_pruned(self, search_key: str, run_key: str, history: tuple[HistoryRow, ...]) -> None:
        """Store that this search has stopped the run early; other searches may still finish it."""
        keys = {"search": search_key, "run": run_key}
        content = asdict(PrunedRun(history))
        self.write(_pruned(search_key, run_key), seal("pruned", keys, content))

    def discard_search(self, search_key: str) -> None:
        """Set the search's folder aside, so that the search starts from nothing."""
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
