"""Queues driven by hand: tests make the calls that an executor would make."""

from __future__ import annotations

from typing import Any

from tests.records.made import INPUTS, LocalStore, resolved, study_of
from tune_distill.planning.optuna_queue import OptunaQueue
from tune_distill.planning.plans import plans
from tune_distill.planning.queue import Trainings, TrialQueue
from tune_distill.records.search_log import SearchLog
from tune_distill.records.trials import TrialState, stored_record
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.study import Study

LEARNING_RATE = study_of(
    {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2}},
    search={"method": "optuna", "num_samples": 40},
    metric={"name": "eval_loss", "mode": "min"},
)


class Driven:
    """A queue whose trials a test starts and ends under names of its choice."""

    def __init__(self, queue: TrialQueue) -> None:
        self.queue = queue
        self.trials: dict[str, Trial] = {}

    def start(self, name: str) -> Any:
        """Start and return the next trial, or return why there is none."""
        trial = self.queue.next()
        if isinstance(trial, Trial):
            self.trials[name] = trial
        return trial

    def report(self, name: str, step: int, eval_loss: float | None) -> None:
        self.queue.reported(self.trials[name], step, eval_loss)

    def end(self, name: str, state: TrialState = "complete", value: float | None = 1.25) -> None:
        self.queue.ended(self.trials[name], state, value if state == "complete" else None)


class Listed:
    """A queue that returns the items of a list."""

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.told: list[Any] = []

    def next(self) -> Any:
        return self.turns.pop(0) if self.turns else "finished"

    def reported(self, trial: Trial, step: int, eval_loss: float | None) -> None:
        self.told.append((trial.trial_id, step, eval_loss))

    def ended(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self.told.append((trial.trial_id, state, value))


def small(vary: dict[str, Any], num_samples: int = 50, **more: Any) -> Study:
    return study_of(vary, search={"method": "optuna", "num_samples": num_samples}, **more)


def searching(store: LocalStore, study: Study, num_seeds: int = 1) -> Driven:
    """Return the queue of a driver that plans the study now."""
    plan = next(plans(resolved(study, num_seeds), INPUTS, store))
    answered = [
        stored_record(trial, plan, store)
        for trial in plan.trials
        if trial.trial_id in plan.finished
    ]
    log = SearchLog(store, plan.search_key)
    return Driven(OptunaQueue(plan, INPUTS, log, Trainings(lambda key: False), answered))


def asked(search: Driven) -> list[dict[str, Any]]:
    """Return all points of a search in which each trial ends before the next one starts."""
    values = []
    while (trial := search.start(name := str(len(values)))) != "finished":
        search.end(name)
        values.append(trial.setting.values)
    return values


def rate_of(trial: Trial) -> float:
    rate = trial.setting.values["learning_rate"]
    assert isinstance(rate, float)
    return rate


def points(store: LocalStore, study: Study) -> list[Any]:
    key = resolved(study).search_key(INPUTS)
    return list(SearchLog(store, key).points().values())


def replanned(store: LocalStore) -> Plan:
    """Return the plan of the learning-rate search in a new command."""
    return next(plans(resolved(LEARNING_RATE), INPUTS, store))
