"""Starts preparations for the report while the last trials run and a worker is idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread

from tune_distill.planning.events import Display
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial


class Tail(Display):
    """Calls `get_ready` once in a thread beside the last trials; shows nothing.

    The thread starts when no trial is waiting and a worker is idle.
    """

    def __init__(self, get_ready: Callable[[], object]) -> None:
        self._thread = Thread(target=get_ready, name="get-ready", daemon=True)
        self._started: set[tuple[str, str]] = set()
        self._ended: set[tuple[str, str]] = set()
        self._num_to_run, self._num_workers = 0, 1

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        self._num_to_run += sum(plan.num_to_run for plan in plans)
        self._num_workers = num_workers

    def started(self, trial: Trial) -> None:
        self._started.add((trial.study, trial.trial_id))
        self._begin_if_idle()

    def ended(self, record: TrialRecord) -> None:
        self._ended.add((record.trial.study, record.trial.trial_id))
        self._begin_if_idle()

    def close(self) -> None:
        if self._thread.ident:
            self._thread.join()

    def _begin_if_idle(self) -> None:
        if len(self._started) < self._num_to_run or self._thread.ident:
            return
        if 0 < len(self._started - self._ended) < self._num_workers:
            self._thread.start()
