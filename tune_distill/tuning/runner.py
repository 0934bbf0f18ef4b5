"""Tune runs what a plan has left, and every trial ends as a record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import tune
from ray.tune.error import TuneError

from tune_distill.distill.inputs import Inputs
from tune_distill.records.leftovers import scratch
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, stored_record
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.settings import baseline, domains
from tune_distill.tuning.events import Display, Outcome
from tune_distill.tuning.journal import search_storage
from tune_distill.tuning.recovery import recovering
from tune_distill.tuning.resources import Limits, TrialResources
from tune_distill.tuning.searchers import (
    PlanSearch,
    Spares,
    StoredOptunaSearch,
    asha,
    ask_again,
    tell_ended,
)
from tune_distill.tuning.signals import signals_kept
from tune_distill.tuning.trainable import Context, StudyTrainable, one_line, trial_of
from tune_distill.tuning.watcher import Watcher

logger = logging.getLogger(__name__)


def run_plan(
    plan: Plan,
    inputs: Inputs,
    store: Store,
    resources: TrialResources,
    display: Display,
    limits: Limits,
    trainable: type[StudyTrainable] = StudyTrainable,
) -> Outcome:
    """The records of all trials that the plan had left, in no particular order.

    Complete ones are in the store; failed ones carry their reason. Ctrl-C ends it early: what was
    running has checkpoints, and its trials are failed as interrupted. So are they, with its reason,
    where the driver cannot go on, say because the store refuses the search's journal.
    """
    watcher = Watcher(plan, inputs, store, display, limits, resources)
    display.begin(plan, resources.max_concurrent)
    context = Context(
        plan.resolved,
        inputs.for_workers(),
        store.place,
        resources.num_threads,
        limits.time_limit_s,
    )
    why_left = INTERRUPTED
    with scratch() as folder:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, context=context),
                {"cpu": resources.cpus, "gpu": resources.gpus, "memory": resources.memory},
            ),
            tune_config=tune.TuneConfig(
                search_alg=_searcher(plan, inputs, store),
                scheduler=_scheduler(plan, inputs, store),
                num_samples=plan.num_to_run,
                max_concurrent_trials=resources.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name="study",
                callbacks=[watcher],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=limits.max_retries),
                # run_trial keeps its own checkpoints in the store.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            # Tune keeps Ctrl-C for itself when it has ended.
            with recovering(), signals_kept():
                tuner.fit()
        except KeyboardInterrupt:
            # Tune took the first Ctrl-C for itself, and was still ending.
            logger.debug("interrupted once more")
        except Exception as error:
            # What a searcher or we have raised: as it is, or in Tune's words with a traceback.
            why_left = f"the driver could not go on: {_last_line(error)}"
            logger.error("%s: %s", plan.resolved.study.name, why_left)
    for record in _left_over(plan, watcher, store, why_left):
        watcher.end(record)
    records = list(watcher.records.values())
    early = len(records) < plan.num_to_run or any(record.error == why_left for record in records)
    return Outcome(records, early)


def _last_line(error: Exception) -> str:
    if not isinstance(error, TuneError):
        return one_line(error)
    return str(error).strip().splitlines()[-1].strip()[:500]


def _searcher(plan: Plan, inputs: Inputs, store: Store) -> PlanSearch | StoredOptunaSearch:
    study = plan.resolved.study
    if not plan.asks_optuna:
        return PlanSearch(plan.pending, store.has_run)
    storage = search_storage(store.place, store.search_folder(plan.search_key))
    seed, space = plan.resolved.seeds[0], domains(study, plan.resolved.profile)
    answered = [(_point(record.trial, plan), record) for record in _stored_records(plan, store)]
    search = StoredOptunaSearch(
        study,
        space,
        seed,
        storage,
        len(plan.trials),
        [point for point, _ in answered],
        lambda setting: plan.resolved.trial(setting, seed, inputs).run_key,
    )
    tell_ended(storage, space, study.metric.name, answered)
    ask_again(storage, [_point(trial, plan) for trial in plan.pending])
    return search


def _scheduler(plan: Plan, inputs: Inputs, store: Store) -> Any:
    study, profile = plan.resolved.study, plan.resolved.profile
    if study.scheduler is None or not plan.prunes:
        return None
    earlier = [record.history for record in _stored_records(plan, store)]
    num_train = inputs.data_identity(profile.data).num_train
    spares = _spares_baseline(plan, inputs)
    return asha(study.scheduler, study, num_train, profile.train, earlier, spares)


def _spares_baseline(plan: Plan, inputs: Inputs) -> Spares:
    """Spares whatever trains the baseline: pruned, it would leave nothing to compare with."""
    resolved = plan.resolved
    spared = baseline(resolved.study, resolved.profile)
    if spared is None:
        return lambda config: False
    runs = {resolved.trial(spared, seed, inputs).run_key for seed in resolved.seeds}
    return lambda config: trial_of(config, resolved, inputs).run_key in runs


def _stored_records(plan: Plan, store: Store) -> list[TrialRecord]:
    """The records of the plan's finished trials."""
    finished = [trial for trial in plan.trials if trial.trial_id in plan.finished]
    return [stored_record(trial, plan, store) for trial in finished]


def _point(trial: Trial, plan: Plan) -> Mapping[str, Any]:
    columns = plan.resolved.study.columns
    return {name: trial.setting.values[column] for name, column in columns.items()}


def _left_over(plan: Plan, watcher: Watcher, store: Store, why: str) -> list[TrialRecord]:
    """Records of trials that never ended: waiting for a run that failed or was pruned, which
    is their end too, or left for the reason given."""
    ended = {
        record.trial.run_key: record
        for record in watcher.records.values()
        if record.state != "complete" and not store.has_run(record.trial.run_key)
    }
    unfinished = {trial.trial_id: trial for trial in watcher.unfinished()}
    waiting = {trial.trial_id: trial for trial in plan.pending}
    left = [
        trial
        for trial_id, trial in (waiting | unfinished).items()
        if trial_id not in watcher.records
    ]
    return [
        replace(ended[trial.run_key], trial=trial, num_retries=0)
        if trial.run_key in ended
        else TrialRecord(trial, "failed", False, why)
        for trial in left
    ]
