"""Passes Tune's callbacks to the ledger, and enforces the limits of trials."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from tune_distill.planning.events import Report
from tune_distill.planning.ledger import Attempts, Ledger
from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.records.runs import HistoryRow
from tune_distill.tuning.alive import require_alive
from tune_distill.tuning.compat import allow_retries, worker_of
from tune_distill.tuning.recovery import failure_reason
from tune_distill.tuning.tune_search import TuneSearch

logger = logging.getLogger(__name__)

_IDLE_S = 60.0
"""Seconds without a running trial after which the user is told why."""

_GRACE_S = 10.0
"""Seconds after its time limit in which a worker may end itself."""


@dataclass
class _Running:
    """A trial that Tune has, and its worker.

    `began_s` is when a worker got it, None while it waits for one. `reached` is the last step
    whose checkpoint was reported.
    """

    attempts: Attempts
    began_s: float | None = None
    actor: Any = None
    reached: int = -1
    history: tuple[HistoryRow, ...] = ()


class Watcher(tune.Callback):  # type: ignore[misc]
    """Passes Tune's callbacks to the ledger, and enforces the limits of trials.

    `search` maps Tune's trials to ours. `clock` returns seconds since any fixed time.
    """

    def __init__(
        self,
        ledger: Ledger,
        search: TuneSearch,
        limits: Limits,
        resources: TrialResources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._search = ledger, search
        self._limits, self._resources, self._clock = limits, resources, clock
        self._running: dict[str, _Running] = {}
        # When the last trial stopped running; None after the warning was given.
        self._idle_since: float | None = clock()
        self.tunes_handler: object = None
        """Tune's handler of Ctrl-C; None before Tune has started."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for its own restore, which we do not use; a terminal cannot be
        # pickled.
        return {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        self.tunes_handler = signal.getsignal(signal.SIGINT)

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Kill workers that are overdue and did not end themselves.

        The timer of a stopped process, or of one on a node that is cut off, does not end it.
        """
        require_alive()
        for running in self._running.values():
            if running.actor is not None and self._is_overdue(running, _GRACE_S):
                ray.kill(running.actor)
                running.actor = None
        self._tell_if_stuck()

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        running = self._of(trial)
        running.began_s, running.actor = self._clock(), worker_of(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        for message in result["messages"]:
            logger.warning("%s", message)
        if "error" in result:
            return
        running = self._of(trial)
        rows = tuple(HistoryRow(**row) for row in result["new_rows"])
        running.history = running.history[: result["num_rows_before"]] + rows
        if result["step"] > running.reached:
            running.reached = result["step"]
            # Progress up to a checkpoint cannot be lost, so restore all retries.
            allow_retries(trial, self._limits.max_retries)
        names = ("step", "num_steps", "eval_loss", "resumed_step", "node", "pid")
        report = Report(**{name: result[name] for name in names})
        self._ledger.progress(trial.trial_id, running.history, report)

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        running = self._of(trial)
        reason = self._reason(trial)
        running.began_s = running.actor = None
        self._ledger.retry(trial.trial_id, reason)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """End a trial that is done, or that the scheduler stopped."""
        self._of(trial)
        del self._running[trial.trial_id]
        result = trial.last_result
        if "error" in result:
            self._ledger.fail(trial.trial_id, result["error"])
        elif result.get("metrics"):
            self._ledger.complete(trial.trial_id, trained=result["trained"])
        else:
            self._ledger.prune(trial.trial_id)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        num_retries = self._of(trial).attempts.num_retries
        retries = f"{num_retries} {'retry' if num_retries == 1 else 'retries'}"
        limit = f"--max-retries {self._limits.max_retries} without a new checkpoint"
        reason = f"{self._reason(trial)}; given up after {retries} ({limit})"
        del self._running[trial.trial_id]
        self._ledger.fail(trial.trial_id, reason)

    def _of(self, trial: TuneTrial) -> _Running:
        """Return our entry of Tune's trial, made here if its worker failed before it started."""
        attempts = self._ledger.start(trial.trial_id, self._search.trial(trial.trial_id))
        return self._running.setdefault(trial.trial_id, _Running(attempts))

    def _tell_if_stuck(self) -> None:
        if any(running.began_s is not None for running in self._running.values()):
            self._idle_since = self._clock()
        elif self._idle_since is not None and self._clock() - self._idle_since > _IDLE_S:
            self._idle_since = None
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            if self._resources.fits(nodes):
                return
            logger.warning(
                "no node is left that can hold a trial: %s; waiting for one to join "
                "(Ctrl-C ends the study, and the same command goes on)",
                self._resources.text(),
            )

    def _is_overdue(self, running: _Running, grace_s: float) -> bool:
        limit_s = self._limits.time_limit_s
        if limit_s is None or running.began_s is None:
            return False
        return self._clock() - running.began_s >= limit_s + grace_s

    def _reason(self, trial: TuneTrial) -> str:
        # A worker that ends itself at its time limit cannot report why.
        if self._is_overdue(self._of(trial), 0.0):
            return f"took longer than --trial-time-limit {self._limits.time_limit_s:g} s"
        return failure_reason(trial)
