"""Tune runs what plans have left, and every trial ends as a record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from ray import tune

from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.records.leftovers import scratch
from tune_distill.records.search_log import SearchLog
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, stored_record
from tune_distill.spec.plan import Plan
from tune_distill.spec.settings import baseline
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.alive import RayLostError
from tune_distill.tuning.compat import recovering
from tune_distill.tuning.events import AllEnded, Display
from tune_distill.tuning.plan_search import PlanSearch, Trainings
from tune_distill.tuning.searchers import Spares, StoredOptunaSearch, asha
from tune_distill.tuning.signals import signals_kept
from tune_distill.tuning.together import ScheduleTogether, SearchTogether
from tune_distill.tuning.trainable import Context, StudyTrainable, one_line, trial_of
from tune_distill.tuning.watcher import Watcher

logger = logging.getLogger(__name__)


def run_plans(
    plans: Sequence[Plan],
    inputs: Inputs,
    prepared: Future[Inputs],
    store: Store,
    resources: TrialResources,
    display: Display,
    limits: Limits,
    all_ended: AllEnded,
    trainable: type[StudyTrainable] = StudyTrainable,
) -> bool:
    """Runs all trials that these plans of different studies have left, those of the first study
    before those of the next, and of all of them as many at once as there are workers.

    `inputs` need to name trials; `prepared` will be what workers read, and is waited for.
    `all_ended` is called once for each plan. Complete trials are in the store then; failed ones
    carry their reason. Ctrl-C ends it early, and True is returned: what was running has
    checkpoints, and its trials are failed as interrupted. They fail with the reason if the driver
    cannot go on: because the store refuses a search's journal, say, or because Ray has ended.

    Raises:
        Exception: what kept the inputs from being prepared; then no trial has begun.
    """
    read_by_workers = prepared.result()
    watcher = Watcher(plans, inputs, store, display, limits, resources, all_ended)
    display.begin(plans, resources.max_concurrent)
    context = Context(
        {plan.resolved.study.name: plan.resolved for plan in plans},
        store.place,
        resources.num_threads,
        limits.time_limit_s,
    )
    stored = frozenset[str]().union(*(plan.stored_runs for plan in plans))
    trainings = Trainings(store.has_run, stored)
    searches = [_search(plan, inputs, store, trainings) for plan in plans]
    why_left = INTERRUPTED
    with scratch() as folder:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, context=context, inputs=read_by_workers),
                {"cpu": resources.cpus, "gpu": resources.gpus, "memory": resources.memory},
            ),
            tune_config=tune.TuneConfig(
                search_alg=SearchTogether(searches),
                scheduler=_schedulers(plans, inputs, store),
                num_samples=sum(plan.num_to_run for plan in plans),
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
        except RayLostError as error:
            error.keep_all()
            why_left = str(error)
            logger.error("%s: %s", " ".join(context.studies), why_left)
        except Exception as error:
            # What a searcher or we have raised: as it is, or in Tune's words with a traceback.
            why_left = f"the driver could not go on: {_last_line(error)}"
            logger.error("%s: %s", " ".join(context.studies), why_left)
    early = False
    for plan, search in zip(plans, searches, strict=True):
        early |= not _all_have_ended(plan, search, watcher, why_left, all_ended)
    return early


def _all_have_ended(
    plan: Plan,
    search: PlanSearch | StoredOptunaSearch,
    watcher: Watcher,
    why_left: str,
    all_ended: AllEnded,
) -> bool:
    """Whether each of the plan's trials came to its own end; those that did not have one now. A
    plan of which no trial had begun is left as it was."""
    if not watcher.of(plan) and not watcher.unfinished(plan):
        return False
    for record in _left_out(plan, search, watcher):
        watcher.end(record.trial.trial_id, record)
    left = {trial.trial_id: TrialRecord(trial, "failed", False) for trial in plan.pending}
    left = {
        trial_id: record
        for trial_id, record in (left | watcher.unfinished(plan)).items()
        if trial_id not in watcher.of(plan)
    }
    for trial_id, record in left.items():
        watcher.end(trial_id, replace(record, error=why_left))
    if not watcher.all_have_ended(plan):
        # Optuna was not asked for the rest.
        all_ended(plan, list(watcher.of(plan).values()))
        return False
    return not left


def _left_out(
    plan: Plan, search: PlanSearch | StoredOptunaSearch, watcher: Watcher
) -> list[TrialRecord]:
    """Records of trials that waited for a run which failed or was pruned: that is their end too."""
    if not isinstance(search, PlanSearch):
        return []
    ended = {
        record.trial.run_key: record
        for record in watcher.of(plan).values()
        if record.state != "complete"
    }
    return [
        replace(ended[trial.run_key], trial=trial, num_retries=0)
        for trial in search.left_out
        if trial.run_key in ended
    ]


def _last_line(error: Exception) -> str:
    if not isinstance(error, tune.TuneError):
        return one_line(error)
    return str(error).strip().splitlines()[-1].strip()[:500]


def _search(
    plan: Plan, inputs: Inputs, store: Store, trainings: Trainings
) -> PlanSearch | StoredOptunaSearch:
    if not plan.asks_optuna:
        return PlanSearch(plan.pending, trainings)
    log = SearchLog(store, plan.search_key)
    return StoredOptunaSearch(plan, inputs, log, trainings, _stored_records(plan, store))


def _schedulers(plans: Sequence[Plan], inputs: Inputs, store: Store) -> ScheduleTogether:
    schedulers = {}
    for plan in plans:
        study, profile = plan.resolved.study, plan.resolved.profile
        if study.scheduler is not None and plan.prunes:
            earlier = [record.history for record in _stored_records(plan, store)]
            num_train = inputs.data_identity(profile.data).num_train
            spares = _spares_baseline(plan, inputs)
            schedulers[study.name] = asha(
                study.scheduler, study, num_train, profile.train, earlier, spares
            )
    return ScheduleTogether(schedulers)


def _spares_baseline(plan: Plan, inputs: Inputs) -> Spares:
    """Spares whatever trains the baseline: pruned, it would leave nothing to compare with."""
    resolved = plan.resolved
    spared = baseline(resolved.study, resolved.profile)
    if spared is None:
        return lambda config: False
    runs = {resolved.trial(spared, seed, inputs).run_key for seed in resolved.seeds}
    return lambda config: trial_of(config, {resolved.study.name: resolved}, inputs).run_key in runs


def _stored_records(plan: Plan, store: Store) -> list[TrialRecord]:
    """The records of the plan's finished trials."""
    finished = [trial for trial in plan.trials if trial.trial_id in plan.finished]
    return [stored_record(trial, plan, store) for trial in finished]
