"""A study's plans: one for a grid or random search; for Optuna a search, then its replicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from tune_distill.planning.space import distinct_points
from tune_distill.records.search_log import SearchLog
from tune_distill.records.store import Store
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.keys import Difference, differences
from tune_distill.spec.metrics import JUDGED
from tune_distill.spec.plan import (
    AskedOnce,
    FinishedState,
    Plan,
    ResolvedStudy,
    Trial,
    make_plan,
    planned_trials,
    require_effect,
)
from tune_distill.spec.settings import baseline, domains, setting
from tune_distill.tasks.task import metrics_of
from tune_distill.training.inputs import Inputs


def plans(resolved: ResolvedStudy, inputs: Inputs, store: Store) -> Iterator[Plan]:
    """Yield the study's plans in order; the next plan depends on how the former ended.

    An Optuna search explores with the first seed. A second plan then replicates its complete
    settings, but not the pruned ones, with the other seeds.

    Raises:
        StudyFileError: two settings are the same trial, or the metric has no meaning for the task.
        TuneDistillError: the inputs cannot be read.
    """
    _require_metric(resolved, inputs)
    if resolved.study.search.method != "optuna":
        trials = planned_trials(resolved, inputs)
        yield make_plan(resolved, resolved.search_key(inputs), trials, store)
        return
    search = _search_plan(resolved, inputs, store)
    yield search
    if not search.is_last:
        explored = _search_plan(resolved, inputs, store)
        complete = [t for t in explored.trials if explored.finished.get(t.trial_id) == "complete"]
        once = AskedOnce(inputs)
        replicas = [
            replica
            for trial in complete
            for replica in resolved.replicates(trial.setting, resolved.seeds[1:], once)
        ]
        yield make_plan(resolved, search.search_key, replicas, store, prunes=False)


def _require_metric(resolved: ResolvedStudy, inputs: Inputs) -> None:
    study, task = resolved.study, inputs.description(resolved.profile.task)
    known = [name for name in metrics_of(task) if name in JUDGED]
    if study.metric.name not in known:
        raise StudyFileError(
            f"study {study.name}: metric.name: must have a meaning for the task {task.name}, got "
            f"{study.metric.name}; choose one of {', '.join(known)}"
        )


def _search_plan(resolved: ResolvedStudy, inputs: Inputs, store: Store) -> Plan:
    study, num_samples = resolved.study, resolved.study.search.num_samples
    assert num_samples is not None
    require_effect(resolved, inputs)
    search_key = resolved.search_key(inputs)
    space = domains(study, resolved.profile)
    log, once = SearchLog(store, search_key), AskedOnce(inputs)
    asked = list(log.points().values())
    points = [point for point in asked if point is not None][:num_samples]
    chosen = [setting(study, space, point) for point in points]
    if not chosen and (first := baseline(study, resolved.profile)):
        # All others are compared with the baseline, which Optuna might never choose.
        chosen = [first]
    most = num_samples
    if None in asked:
        most = len(chosen)
    elif (listed := distinct_points(resolved, once)) is not None:
        most = min(num_samples, len(listed))
    trials = [resolved.trial(each, resolved.seeds[0], once) for each in chosen]
    num_new = max(0, most - len(trials))
    plan = make_plan(resolved, search_key, trials, store, asks_optuna=True, num_new=num_new)
    return _as_it_ended(plan, log)


def _as_it_ended(plan: Plan, log: SearchLog) -> Plan:
    """Return the plan with pruned trials as pruned, even if another driver finished their runs."""
    ends = log.ends()
    pruned = {
        trial.trial_id
        for trial in plan.trials
        if (end := ends.get(trial.evaluation_key)) and end.state == "pruned"
    }
    finished: dict[str, FinishedState] = {
        trial_id: "pruned" if trial_id in pruned else state
        for trial_id, state in plan.finished.items()
    }
    return replace(plan, finished=finished)


def exhaustion(plan: Plan, store: Store) -> str | None:
    """Return a line that the search tried all of its space, with fewer points than asked for.

    Return None for other plans.
    """
    num_samples = plan.resolved.study.search.num_samples
    if not plan.asks_optuna or num_samples is None:
        return None
    asked = SearchLog(store, plan.search_key).points().values()
    num_points = len(plan.trials) + plan.num_new
    if None in asked:
        num_points = sum(point is not None for point in asked)
    if num_points >= num_samples:
        return None
    points = "1 point" if num_points == 1 else f"{num_points} points"
    return (
        f"{plan.resolved.study.name}: the search space is exhausted: it has {points}, fewer than "
        f"the {num_samples} samples asked for; each is tried once"
    )


def start_over(resolved: ResolvedStudy, inputs: Inputs, store: Store) -> None:
    """Remove all of the study's trials from the store."""
    # List all plans before removing anything, because replicates follow from the search's trials.
    for plan in list(plans(resolved, inputs, store)):
        for trial in plan.trials:
            store.discard_run(trial.run_key)
            store.discard_evaluation(trial.evaluation_key)
        store.discard_search(plan.search_key)


def nearest_run(
    trial: Trial, stored: Iterable[tuple[str, dict[str, Any]]]
) -> tuple[str, list[Difference]] | None:
    """Return the key of the stored run nearest to the trial's, and the fields that differ."""
    wanted = trial.run_identity
    ranked = [(key, differences(wanted, identity)) for key, identity in stored]
    return min(ranked, key=lambda entry: len(entry[1]), default=None)


def explanations(plan: Plan, store: Store) -> list[str]:
    """Return a line for each trial: a hit, or which fields differ from the nearest stored run."""
    stored = list(store.identities())
    return [_explanation(trial, plan, store, stored) for trial in plan.trials] + (
        [f"{plan.num_new} settings that Optuna has yet to choose"] if plan.num_new else []
    )


def _explanation(
    trial: Trial, plan: Plan, store: Store, stored: list[tuple[str, dict[str, Any]]]
) -> str:
    state = plan.finished.get(trial.trial_id)
    if state is not None:
        return f"{trial.trial_id}: hit, {state} in the store"
    if trial.run_key in plan.stored_runs:
        return f"{trial.trial_id}: run {trial.run_key[:12]} is a hit; it is yet to be decoded so"
    if store.has_checkpoint(trial.run_key):
        return (
            f"{trial.trial_id}: no hit, run {trial.run_key[:12]} is not finished; "
            "it goes on from its checkpoint"
        )
    nearest = nearest_run(trial, stored)
    if nearest is None:
        return f"{trial.trial_id}: no hit, the store has no run"
    key, fields = nearest
    differing = ", ".join(f"{d.field} is {d.wanted!r}, there {d.stored!r}" for d in fields[:4])
    more = f", and {len(fields) - 4} more" if len(fields) > 4 else ""
    return f"{trial.trial_id}: no hit; nearest is run {key[:12]}: {differing}{more}"
