"""Searches that are driven by hand: what Tune would tell them is told by tests."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from tests.records.made import INPUTS, METRICS, LocalStore, resolved, study_of
from tune_distill.planning.plans import plans
from tune_distill.records.search_log import SearchLog
from tune_distill.records.trials import stored_record
from tune_distill.spec.plan import Plan
from tune_distill.spec.study import Study
from tune_distill.tuning.plan_search import Trainings
from tune_distill.tuning.searchers import StoredOptunaSearch

LEARNING_RATE = study_of(
    {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2}},
    search={"method": "optuna", "num_samples": 40},
    metric={"name": "eval_loss", "mode": "min"},
)


def last_result(step: int, eval_loss: float, metrics: Any = None) -> dict[str, Any]:
    """A trial's last result as Tune gives it to searchers: done, ended or stopped."""
    result = {"step": step, "eval_loss": eval_loss, "metrics": metrics or {}, "done": True}
    return flatten_dict(result)


DONE = last_result(20, 1.25, METRICS)
PRUNED = last_result(10, 3.0)


def small(vary: dict[str, Any], num_samples: int = 50, **more: Any) -> Study:
    return study_of(vary, search={"method": "optuna", "num_samples": num_samples}, **more)


def searching(store: LocalStore, study: Study, num_seeds: int = 1) -> StoredOptunaSearch:
    """The search of a driver that plans the study now."""
    plan = next(plans(resolved(study, num_seeds), INPUTS, store))
    answered = [
        stored_record(trial, plan, store)
        for trial in plan.trials
        if trial.trial_id in plan.finished
    ]
    log = SearchLog(store, plan.search_key)
    return StoredOptunaSearch(plan, INPUTS, log, Trainings(lambda key: False), answered)


def asked(search: StoredOptunaSearch, prefix: str = "") -> list[dict[str, Any]]:
    """All that a search hands out when each trial ends before the next one starts."""
    values = []
    while (config := search.suggest(name := f"{prefix}{len(values)}")) != Searcher.FINISHED:
        search.on_trial_complete(name, DONE)
        values.append(config["values"])
    return values


def rate_of(config: dict[str, Any]) -> float:
    return config["values"]["learning_rate"]


def points(store: LocalStore, study: Study) -> list[Any]:
    key = resolved(study).search_key(INPUTS)
    return list(SearchLog(store, key).points().values())


def replanned(store: LocalStore) -> Plan:
    """The learning rates' search as a command that begins now plans it."""
    return next(plans(resolved(LEARNING_RATE), INPUTS, store))
