"""Queues and pruning for plans that run together."""

from __future__ import annotations

from tune_distill.planning.halving import Halving
from tune_distill.planning.optuna_queue import OptunaQueue
from tune_distill.planning.queue import PlannedQueue, Trainings, TrialQueue
from tune_distill.planning.work import Work
from tune_distill.records.search_log import SearchLog
from tune_distill.records.store import Store
from tune_distill.records.trials import TrialRecord, stored_record
from tune_distill.spec.plan import Plan
from tune_distill.spec.settings import baseline
from tune_distill.students.batches import num_steps
from tune_distill.training.inputs import Inputs


def queues_of(work: Work) -> list[TrialQueue]:
    """Return a queue for each of the plans, in their order; they share the runs in training."""
    stored = frozenset[str]().union(*(plan.stored_runs for plan in work.plans))
    trainings = Trainings(work.store.has_run, stored)
    return [_queue(plan, work, trainings) for plan in work.plans]


def halvings_of(work: Work) -> dict[str, Halving]:
    """Return the Halving of each study that has one, by the study's name."""
    found = {}
    for plan in work.plans:
        study, profile = plan.resolved.study, plan.resolved.profile
        if study.scheduler is not None and plan.prunes:
            num_train = work.inputs.data_identity(profile.task, profile.data).num_train
            halving = Halving(
                study.scheduler,
                study.metric.mode,
                num_steps(num_train, profile.train),
                spared=_baseline_runs(plan, work.inputs),
            )
            for record in _finished(plan, work.store):
                halving.know(record.trial.run_key, record.history)
            found[study.name] = halving
    return found


def _queue(plan: Plan, work: Work, trainings: Trainings) -> TrialQueue:
    if not plan.asks_optuna:
        return PlannedQueue(plan.pending, trainings)
    log, answered = SearchLog(work.store, plan.search_key), _finished(plan, work.store)
    return OptunaQueue(plan, work.inputs, log, trainings, answered)


def _baseline_runs(plan: Plan, inputs: Inputs) -> set[str]:
    """Return the runs of the baseline, which are never pruned so that others can be compared."""
    resolved = plan.resolved
    spared = baseline(resolved.study, resolved.profile)
    if spared is None:
        return set()
    return {resolved.trial(spared, seed, inputs).run_key for seed in resolved.seeds}


def _finished(plan: Plan, store: Store) -> list[TrialRecord]:
    """Return the records of the plan's finished trials."""
    trials = [trial for trial in plan.trials if trial.trial_id in plan.finished]
    return [stored_record(trial, plan, store) for trial in trials]
