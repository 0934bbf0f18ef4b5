"""Which trial an Optuna search starts next, and which ones ASHA stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_distill.distill.batches import num_steps
from tune_distill.records.places import Place
from tune_distill.records.runs import HistoryRow
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.domains import Cases, Domain, IntRange, LogUniform, Scalar, Uniform, Values
from tune_distill.spec.profile import Train
from tune_distill.spec.settings import Setting, setting
from tune_distill.spec.study import PROGRESS_METRICS, Asha, MetricName, Study
from tune_distill.tuning.journal import has_journal, search_storage
from tune_distill.tuning.plan_search import Trainings
from tune_distill.tuning.trainable import trial_config

Spares = Callable[[Mapping[str, Any]], bool]
"""Whether a trial of this config goes on, however bad it is."""

_STUDY_NAME = "tune_distill"

# TPE needs some random points first; Optuna's default of 10 would leave little of a short search.
_NUM_STARTUP_TRIALS = 5

# How often TPE is asked for a point that the search has not had.
_NUM_TRIES = 50


class SparingAsha(ASHAScheduler):  # type: ignore[misc]
    """ASHA that judges every trial, and stops none whose config it is told to spare."""

    def __init__(self, spares: Spares, **settings: Any) -> None:
        super().__init__(**settings)
        self._spares = spares

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = str(super().on_trial_result(controller, trial, result))
        if decision == TrialScheduler.STOP and self._spares(trial.config):
            return str(TrialScheduler.CONTINUE)
        return decision


class StoredOptunaSearch(Searcher):  # type: ignore[misc]
    """Optuna's TPE over a storage in the store, with pruned trials told as pruned."""

    def __init__(
        self,
        study: Study,
        space: Mapping[str, Domain],
        seed: int,
        storage: BaseStorage,
        num_earlier: int,
        num_to_run: int,
        answered: Iterable[Mapping[str, Scalar]],
        run_key_of: Callable[[Setting], str],
        trainings: Trainings,
    ) -> None:
        self._study_spec, self._seed_of_trials = study, seed
        self._domains = dict(space)
        self._num_to_run = num_to_run
        self._run_key_of, self._trainings = run_key_of, trainings
        self._reported: dict[str, int] = {}
        self._held: optuna.Trial | None = None
        # Not what the journal calls ended: the store may have lost it, and it is asked for again.
        self._chosen = [dict(point) for point in answered]
        super().__init__(metric=study.metric.name, mode=study.metric.mode)
        self._distributions = {name: _distribution(domain) for name, domain in space.items()}
        self._asked: dict[str, optuna.Trial] = {}
        self._study = optuna.create_study(
            storage=storage,
            # A search that goes on must not draw its first random numbers again.
            sampler=optuna.samplers.TPESampler(
                n_startup_trials=_NUM_STARTUP_TRIALS,
                seed=study.search.seed + num_earlier,
                constant_liar=True,
            ),
            pruner=optuna.pruners.NopPruner(),
            study_name=_STUDY_NAME,
            direction="minimize" if study.metric.mode == "min" else "maximize",
            load_if_exists=True,
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next point, or none while another worker trains the very run that it needs."""
        if not self._num_to_run:
            return str(Searcher.FINISHED)
        trial = self._held or self._new_point()
        chosen = setting(self._study_spec, self._domains, trial.params)
        run_key = self._run_key_of(chosen)
        if self._trainings.wait(run_key):
            self._held = trial
            return None
        self._held = None
        self._num_to_run -= 1
        self._asked[trial_id] = trial
        self._trainings.begin(trial_id, run_key)
        return trial_config(self._study_spec.name, chosen, self._seed_of_trials)

    def _new_point(self) -> optuna.Trial:
        for _ in range(_NUM_TRIES):
            trial: optuna.Trial = self._study.ask(fixed_distributions=self._distributions)
            if trial.params not in self._chosen:
                break
            self._study.tell(trial, state=TrialState.FAIL)
        # A small space may have nothing new; then a point is answered twice from the store.
        self._chosen.append(dict(trial.params))
        return trial

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        value = _metric(result, self._study_spec.metric.name)
        if value is not None and result["step"] > self._reported.get(trial_id, -1):
            # A retried trial begins with what it reported before, which Optuna warns of.
            self._reported[trial_id] = result["step"]
            self._asked[trial_id].report(value, result["step"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self._asked[trial_id]
        self._trainings.end(trial_id)
        if error or not result or "error" in result:
            self._study.tell(trial, state=TrialState.FAIL)
        elif _is_complete(result):
            self._study.tell(trial, _metric(result, self._study_spec.metric.name))
        else:
            # Tune keeps from searchers the very result that a trial is pruned for.
            self.on_trial_result(trial_id, result)
            self._study.tell(trial, state=TrialState.PRUNED)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal has the search."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


@dataclass(frozen=True)
class EarlierSearch:
    """What earlier commands left of a search.

    `points`: each varied name and its value, each point once, oldest first. `ended`: those of
    complete and pruned trials; in a small space one may stand there twice. `num_chosen`: how many
    settings the search has spent.
    """

    points: list[dict[str, Scalar]]
    ended: list[dict[str, Scalar]]

    @property
    def num_chosen(self) -> int:
        return len(self.ended) + sum(point not in self.ended for point in self.points)


def earlier_search(place: Place, folder: str) -> EarlierSearch:
    """The points that earlier commands of the search in this folder chose; none without a
    journal."""
    points: list[dict[str, Scalar]] = []
    ended: list[dict[str, Scalar]] = []
    for trial in _stored_trials(place, folder):
        if trial.params and trial.params not in points:
            points.append(dict(trial.params))
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            ended.append(dict(trial.params))
    return EarlierSearch(points, ended)


def ask_again(storage: BaseStorage, points: Iterable[Mapping[str, Scalar]]) -> None:
    """The search will ask for these points first; what was left running is closed as failed."""
    study = optuna.load_study(study_name=_STUDY_NAME, storage=storage)
    queued = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        elif trial.state == TrialState.WAITING:
            queued.append(trial.system_attrs.get("fixed_params"))
    for point in points:
        if point not in queued:
            study.enqueue_trial(dict(point))


def tell_ended(
    storage: BaseStorage,
    space: Mapping[str, Domain],
    metric: MetricName,
    answered: Iterable[tuple[Mapping[str, Scalar], TrialRecord]],
) -> None:
    """The search knows how the trials at these points ended, also where it never asked for them:
    another study may have made its baseline."""
    study = optuna.load_study(study_name=_STUDY_NAME, storage=storage)
    known = [trial.params for trial in study.get_trials(deepcopy=False)]
    for point, record in answered:
        if dict(point) not in known:
            study.add_trial(_ended_trial(space, metric, point, record))


def _ended_trial(
    space: Mapping[str, Domain],
    metric: MetricName,
    point: Mapping[str, Scalar],
    record: TrialRecord,
) -> FrozenTrial:
    value, state = None, TrialState.PRUNED
    if record.evaluation is not None:
        values = {**record.evaluation.metrics, "eval_loss": record.evaluation.eval_loss}
        value = values[metric]
        # As `tell` would: a metric without a value is no result.
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
    reports = {row.step: row.eval_loss for row in record.history if row.eval_loss is not None}
    return optuna.trial.create_trial(
        state=state,
        value=value,
        params=dict(point),
        distributions={name: _distribution(domain) for name, domain in space.items()},
        intermediate_values=reports if metric in PROGRESS_METRICS else {},
    )


def asha(
    settings: Asha,
    study: Study,
    num_train: int,
    train: Train,
    earlier: Iterable[tuple[HistoryRow, ...]],
    spares: Spares,
) -> SparingAsha:
    """ASHA over training steps that has already seen the histories of `earlier` trials."""
    total = num_steps(num_train, train)
    scheduler = SparingAsha(
        spares,
        time_attr="step",
        metric=study.metric.name,
        mode=study.metric.mode,
        max_t=max(2, total),
        grace_period=max(1, round(total * settings.grace_fraction)),
        reduction_factor=settings.reduction_factor,
        # A trial at its last step still has to decode.
        stop_last_trials=False,
    )
    for number, history in enumerate(earlier):
        trial = SimpleNamespace(trial_id=f"earlier-{number}")
        scheduler.on_trial_add(None, trial)
        for row in history:
            if row.eval_loss is not None:
                report = {"step": row.step, study.metric.name: row.eval_loss}
                # ASHA's own: these have ended, and there is nothing to spare.
                ASHAScheduler.on_trial_result(scheduler, None, trial, report)
        scheduler.on_trial_remove(None, trial)
    return scheduler


def _is_complete(result: Mapping[str, Any] | None) -> bool:
    """Whether a trial's last result says that it was decoded: Tune calls pruned ones done too."""
    return any(name.startswith("metrics/") for name in result or {})


def _metric(result: Mapping[str, Any], name: str) -> float | None:
    """The metric in a result as Tune hands it to searchers: flattened, with slashes."""
    value: float | None = result.get(f"metrics/{name}", result.get(name))
    return value


def _stored_trials(place: Place, folder: str) -> list[FrozenTrial]:
    if not has_journal(place, folder):
        return []
    storage = search_storage(place, folder)
    if _STUDY_NAME not in optuna.get_all_study_names(storage):
        return []
    return optuna.load_study(study_name=_STUDY_NAME, storage=storage).get_trials(deepcopy=False)


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(domain, Values):
        return optuna.distributions.CategoricalDistribution(domain.values)
    if isinstance(domain, Cases):
        return optuna.distributions.CategoricalDistribution(list(domain.cases))
    if isinstance(domain, IntRange):
        # Optuna wants the last step inside the range.
        high = domain.low + (domain.high - domain.low) // domain.step * domain.step
        return optuna.distributions.IntDistribution(domain.low, high, step=domain.step)
    log = isinstance(domain, LogUniform)
    assert isinstance(domain, Uniform | LogUniform)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=log)
