"""Tune's callbacks become records and what the display shows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.records.runs import HistoryRow
from tune_distill.records.store import Store
from tune_distill.records.trials import TrialRecord, complete_record
from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.plan import Plan, Trial
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.alive import require_alive
from tune_distill.tuning.compat import allow_retries, worker_of
from tune_distill.tuning.events import AllEnded, Display, Report
from tune_distill.tuning.recovery import failure_reason
from tune_distill.tuning.search_ends import SearchEnds
from tune_distill.tuning.trainable import one_line, trial_of

logger = logging.getLogger(__name__)

_IDLE_S = 60.0
"""After so long without a running trial the user is told why."""

_GRACE_S = 10.0
"""How long after its time a worker may take to end itself."""


@dataclass
class _Running:
    """A trial that was started and did not end.

    `began_s`: when a worker got it, none while it waits for one. `reached`: the last step of which
    a checkpoint was told.
    """

    trial: Trial
    is_shown: bool = False
    num_retries: int = 0
    began_s: float | None = None
    actor: Any = None
    reached: int = -1
    history: tuple[HistoryRow, ...] = ()


class Watcher(tune.Callback):  # type: ignore[misc]
    """Turns Tune's callbacks into records, and shows them; keeps trials to their limits.

    `all_ended` is called with a plan and its records as soon as each of its trials has one. `clock`
    gives seconds from any fixed point.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        inputs: Inputs,
        store: Store,
        display: Display,
        limits: Limits,
        resources: TrialResources,
        all_ended: AllEnded,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plans = {plan.resolved.study.name: plan for plan in plans}
        self._records: dict[str, dict[str, TrialRecord]] = {name: {} for name in self._plans}
        self._ended_names: dict[str, set[str]] = {name: set() for name in self._plans}
        self._searches = {
            name: SearchEnds(plan, store) for name, plan in self._plans.items() if plan.asks_optuna
        }
        self._studies = {name: plan.resolved for name, plan in self._plans.items()}
        self._trained: set[str] = set()
        self._inputs, self._store, self._display = inputs, store, display
        self._all_ended = all_ended
        self._limits, self._resources, self._clock = limits, resources, clock
        self._running: dict[str, _Running] = {}
        # Since when no worker has a trial; none once the user was told.
        self._idle_since: float | None = clock()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to restore them some day; the store resumes studies, and a
        # terminal cannot be pickled.
        return {}

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Workers that are overdue and did not end themselves are killed: a stopped process, or
        one on a node that nobody reaches, obeys no timer of its own."""
        require_alive()
        for running in self._running.values():
            if running.actor is not None and self._is_overdue(running, _GRACE_S):
                ray.kill(running.actor)
                running.actor = None
        self._tell_if_stuck()

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        running = self._show(trial)
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
            # What is checkpointed is not lost again, so all retries are there for the rest.
            allow_retries(trial, self._limits.max_retries)
        names = ("step", "num_steps", "eval_loss", "resumed_step", "node", "pid")
        told = {name: result[name] for name in names}
        train_loss = running.history[-1].train_loss if running.history else None
        self._display.progressed(running.trial, Report(**told, train_loss=train_loss))

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        running = self._show(trial)
        running.num_retries += 1
        reason = self._reason(trial)
        running.began_s = running.actor = None
        self._display.retried(running.trial, running.num_retries, reason)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        try:
            record = self._ended(trial)
        except TuneDistillError as error:
            record = self._failed(trial, one_line(error))
        self.end(trial.trial_id, record)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        num_retries = self._of(trial).num_retries
        retries = f"{num_retries} {'retry' if num_retries == 1 else 'retries'}"
        limit = f"--max-retries {self._limits.max_retries} without a new checkpoint"
        reason = f"{self._reason(trial)}; given up after {retries} ({limit})"
        self.end(trial.trial_id, self._failed(trial, reason))

    def end(self, name: str, record: TrialRecord) -> None:
        """The trial has this end, and it is shown; `name` is Tune's own for it, or ours if Tune
        never had it. A trial that ended before keeps its first end."""
        plan = self._plans[record.trial.study]
        names, records = self._ended_names[record.trial.study], self.of(plan)
        is_new = name not in names
        names.add(name)
        if record.trial.trial_id not in records:
            records[record.trial.trial_id] = record
            self._display.ended(record)
        if is_new and len(names) == plan.num_to_run:
            self._all_ended(plan, list(records.values()))

    def all_have_ended(self, plan: Plan) -> bool:
        """Whether as many of the plan's trials have ended as were to run."""
        return len(self._ended_names[plan.resolved.study.name]) >= plan.num_to_run

    def of(self, plan: Plan) -> dict[str, TrialRecord]:
        """The records of the plan's trials that have ended, by trial."""
        return self._records[plan.resolved.study.name]

    def unfinished(self, plan: Plan) -> dict[str, TrialRecord]:
        """Records, as yet without a reason, of the plan's trials that were started and did not end:
        Tune was interrupted."""
        return {
            running.trial.trial_id: TrialRecord(
                running.trial,
                "failed",
                False,
                history=running.history,
                num_retries=running.num_retries,
            )
            for running in self._running.values()
            if running.trial.study == plan.resolved.study.name
        }

    def _ended(self, trial: TuneTrial) -> TrialRecord:
        """The record of a trial that says itself that it is done, or that the scheduler stopped.

        Raises:
            StoreError: the store has lost its run, or cannot take a pruned one's history.
        """
        running, result = self._of(trial), trial.last_result
        if "error" in result:
            return self._failed(trial, result["error"])
        if result.get("metrics"):
            record = complete_record(running.trial, self._store, self._is_reused(running, result))
            if not record.reused:
                self._trained.add(running.trial.run_key)
        else:
            record = TrialRecord(running.trial, "pruned", False, history=running.history)
        record = self._settled(record)
        del self._running[trial.trial_id]
        return replace(record, num_retries=running.num_retries)

    def _settled(self, record: TrialRecord) -> TrialRecord:
        """The record as all drivers of the study tell it.

        Raises:
            StoreError: the store refuses.
        """
        study, run_key = record.trial.study, record.trial.run_key
        if study in self._searches:
            return self._searches[study].settle(record)
        if record.state == "pruned":
            self._store.mark_pruned(self._plans[study].search_key, run_key, record.history)
        return record

    def _is_reused(self, running: _Running, result: Mapping[str, Any]) -> bool:
        """Whether the trial needed no training; one that an earlier attempt made is its own."""
        run_key = running.trial.run_key
        stored = self._plans[running.trial.study].stored_runs
        was_there = run_key in stored or run_key in self._trained
        return not result["trained"] and (running.num_retries == 0 or was_there)

    def _failed(self, trial: TuneTrial, reason: str) -> TrialRecord:
        running = self._of(trial)
        del self._running[trial.trial_id]
        return TrialRecord(
            running.trial,
            "failed",
            False,
            reason,
            history=running.history,
            num_retries=running.num_retries,
        )

    def _of(self, trial: TuneTrial) -> _Running:
        """Ours behind Tune's; a trial whose worker fails to start has not been seen before."""
        if trial.trial_id not in self._running:
            ours = trial_of(trial.config, self._studies, self._inputs)
            self._running[trial.trial_id] = _Running(ours)
        return self._running[trial.trial_id]

    def _show(self, trial: TuneTrial) -> _Running:
        running = self._of(trial)
        if not running.is_shown:
            running.is_shown = True
            self._display.started(running.trial)
        return running

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
        # A worker that ends itself in time cannot say why.
        if self._is_overdue(self._of(trial), 0.0):
            return f"took longer than --trial-time-limit {self._limits.time_limit_s:g} s"
        return failure_reason(trial)
