"""Tune runs what a plan has left, and every trial ends as a record."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.experiment import Trial as TuneTrial

from tune_distill.distill.inputs import Inputs
from tune_distill.records.store import HistoryRow, Store
from tune_distill.records.trials import (
    INTERRUPTED,
    TrialRecord,
    complete_record,
    stored_record,
)
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.settings import baseline, domains
from tune_distill.tuning.events import Display
from tune_distill.tuning.resources import TrialResources
from tune_distill.tuning.searchers import (
    PlanSearch,
    Spares,
    StoredOptunaSearch,
    asha,
    ask_again,
    tell_ended,
)
from tune_distill.tuning.trainable import Context, StudyTrainable, trial_of

logger = logging.getLogger(__name__)


class Watcher(tune.Callback):  # type: ignore[misc]
    """Turns Tune's callbacks into records, and shows them."""

    def __init__(self, plan: Plan, inputs: Inputs, store: Store, display: Display) -> None:
        self.records: dict[str, TrialRecord] = {}
        self._plan, self._inputs, self._store, self._display = plan, inputs, store, display
        self._trials: dict[str, Trial] = {}
        self._histories: dict[str, tuple[HistoryRow, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to restore them some day; the store resumes studies, and a
        # terminal cannot be pickled.
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self._display.started(self._ours(trial))

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
        rows = tuple(HistoryRow(**row) for row in result["new_rows"])
        self._histories[trial.trial_id] = self._history(trial) + rows
        ours = self._ours(trial)
        self._display.progressed(ours, result["step"], result["num_steps"], result["eval_loss"])

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        ours, result = self._ours(trial), trial.last_result
        if result.get("metrics"):
            self.end(complete_record(ours, self._store, reused=not result["trained"]))
            return
        history = self._history(trial)
        self._store.mark_pruned(self._plan.search_key, ours.run_key, history)
        self.end(TrialRecord(ours, "pruned", False, history=history))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        record = TrialRecord(
            self._ours(trial), "failed", False, _reason(trial), history=self._history(trial)
        )
        self.end(record)

    def _ours(self, trial: TuneTrial) -> Trial:
        """Our trial behind Tune's; a worker that fails to start has not been seen before."""
        if trial.trial_id not in self._trials:
            ours = trial_of(trial.config, self._plan.resolved, self._inputs)
            self._trials[trial.trial_id] = ours
        return self._trials[trial.trial_id]

    def _history(self, trial: TuneTrial) -> tuple[HistoryRow, ...]:
        return self._histories.get(trial.trial_id, ())

    def end(self, record: TrialRecord) -> None:
        """The trial has this end, and it is shown; a trial that ended before keeps its first."""
        if record.trial.trial_id in self.records:
            return
        self.records[record.trial.trial_id] = record
        self._display.ended(record)

    def unfinished(self) -> list[Trial]:
        """Trials that were started and did not end: Tune was interrupted."""
        return [trial for trial in self._trials.values() if trial.trial_id not in self.records]


def run_plan(
    plan: Plan, inputs: Inputs, store: Store, resources: TrialResources, display: Display
) -> list[TrialRecord]:
    """The records of all trials that the plan had left, in no particular order.

    Complete ones are in the store; failed ones carry their reason. Ctrl-C ends it early: what was
    running has checkpoints, and its trials are failed as interrupted.
    """
    context = Context(plan.resolved, inputs.for_workers(), store.root, resources.num_threads)
    watcher = Watcher(plan, inputs, store, display)
    display.begin(plan, resources.max_concurrent)
    with tempfile.TemporaryDirectory(prefix="tune_distill-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(StudyTrainable, context=context),
                {"cpu": resources.cpus, "gpu": resources.gpus},
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
                storage_path=scratch,
                name="study",
                callbacks=[watcher],
                verbose=0,
                # run_trial keeps its own checkpoints in the store.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    for record in _left_over(plan, watcher, store):
        watcher.end(record)
    return list(watcher.records.values())


def _searcher(plan: Plan, inputs: Inputs, store: Store) -> PlanSearch | StoredOptunaSearch:
    study = plan.resolved.study
    if not plan.asks_optuna:
        return PlanSearch(plan.pending, store.has_run)
    store.begin_search(plan.search_key)
    journal = store.journal_path(plan.search_key)
    seed, space = plan.resolved.seeds[0], domains(study, plan.resolved.profile)
    answered = [(_point(record.trial, plan), record) for record in _stored_records(plan, store)]
    search = StoredOptunaSearch(
        study,
        space,
        seed,
        journal,
        len(plan.trials),
        [point for point, _ in answered],
        lambda setting: plan.resolved.trial(setting, seed, inputs).run_key,
    )
    tell_ended(journal, space, study.metric.name, answered)
    ask_again(journal, [_point(trial, plan) for trial in plan.pending])
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


def _left_over(plan: Plan, watcher: Watcher, store: Store) -> list[TrialRecord]:
    """Records of trials that never ended: waiting for a run that failed or was pruned, which
    is their end too, or interrupted."""
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
        replace(ended[trial.run_key], trial=trial)
        if trial.run_key in ended
        else TrialRecord(trial, "failed", False, INTERRUPTED)
        for trial in left
    ]


def _reason(trial: TuneTrial) -> str:
    """Why a Tune trial failed, in one line: the innermost error, without Ray's wrapping."""
    # The driver's own file, written a moment ago: Trial.get_pickled_error reads a later copy.
    file = trial.pickled_error_file
    if file is None:
        return "Tune gave no reason"
    error = cloudpickle.loads(Path(file).read_bytes())
    cause = getattr(error, "cause", None) or error
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}"[:500]
