"""Which trial an Optuna search starts next, and which ones ASHA stops."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_distill.planning.space import distinct_points, point_of, trial_at
from tune_distill.records.runs import HistoryRow
from tune_distill.records.search_log import Point, SearchLog, free_number
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import AskedOnce, Identities, Plan, Trial
from tune_distill.spec.profile import Train
from tune_distill.spec.settings import domains
from tune_distill.spec.study import Asha, Study
from tune_distill.students.batches import num_steps
from tune_distill.tuning.journal import quiet
from tune_distill.tuning.plan_search import Trainings
from tune_distill.tuning.search_ends import distributions, ended_trial
from tune_distill.tuning.trainable import trial_config

Spares = Callable[[Mapping[str, Any]], bool]
"""Whether a trial of this config goes on, however bad it is."""

# TPE needs some random points first; Optuna's default of 10 would leave little of a short search.
_NUM_STARTUP_TRIALS = 5

# How often TPE, and then chance, is asked for a point that the search has not had.
_NUM_TRIES = 10
_NUM_DRAWS = 1_000


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
    """Optuna's TPE over the points of a search that the store knows.

    A point is chosen by claiming its number in the search's log. So drivers that share a search
    choose its points together, each once, and each driver hands out all of them: what others have
    ended or still run comes from the store. `answered` are the trials that ended before.
    """

    def __init__(
        self,
        plan: Plan,
        identities: Identities,
        log: SearchLog,
        trainings: Trainings,
        answered: Iterable[TrialRecord],
    ) -> None:
        super().__init__()
        self._resolved, self._log, self._trainings = plan.resolved, log, trainings
        self._identities = AskedOnce(identities)
        self._space = domains(plan.resolved.study, plan.resolved.profile)
        self._distributions = distributions(self._space)
        self._metric_name = plan.resolved.study.metric.name
        seed = plan.resolved.study.search.seed + len(plan.trials)
        self._rng = random.Random(seed)
        self._reported: dict[str, int] = {}
        self._trials: dict[str, optuna.Trial] = {}
        self._held: optuna.Trial | None = None
        self._num_points = len(plan.trials) + plan.num_new
        self._pending = deque(point_of(self._resolved, trial) for trial in plan.pending)
        self._others: list[Point] = []
        self._numbers: set[int] = set()
        self._keys = {trial.evaluation_key for trial in plan.trials}
        self._study = self._told(seed, answered)
        log.claim_all(point_of(self._resolved, trial) for trial in plan.trials)
        for number, point in log.points().items():
            self._meet(number, point)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next point, or None while another worker trains the very run that it needs."""
        trial = self._held or self._next()
        if trial is None:
            return str(Searcher.FINISHED)
        ours = self._trial_at(trial.params)
        if self._trainings.wait(ours.run_key):
            self._held = trial
            return None
        self._held = None
        self._trials[trial_id] = trial
        self._trainings.begin(trial_id, ours.run_key)
        return trial_config(ours.study, ours.setting, ours.seed)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        value = _metric(result, self._metric_name)
        if value is not None and result["step"] > self._reported.get(trial_id, -1):
            # A retried trial begins with what it reported before, which Optuna warns of.
            self._reported[trial_id] = result["step"]
            self._trials[trial_id].report(value, result["step"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._trainings.end(trial_id)
        value, state = None, TrialState.FAIL
        if not error and result and "error" not in result:
            if _is_complete(result):
                value = _metric(result, self._metric_name)
                # A metric without a value is no result.
                state = TrialState.FAIL if value is None else TrialState.COMPLETE
            else:
                # Tune keeps from searchers the very result that a trial is pruned for.
                self.on_trial_result(trial_id, result)
                state = TrialState.PRUNED
        # Should what follows in Tune fail, the trial ends once more.
        self._study.tell(self._trials[trial_id], value, state, skip_if_finished=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store has the search."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _told(self, seed: int, answered: Iterable[TrialRecord]) -> optuna.Study:
        """A study of this driver's own that knows the answered trials."""
        with quiet():
            study = optuna.create_study(
                direction="maximize" if self._resolved.study.metric.mode == "max" else "minimize",
                # A search that goes on must not draw its first random numbers again.
                sampler=optuna.samplers.TPESampler(
                    n_startup_trials=_NUM_STARTUP_TRIALS, seed=seed, constant_liar=True
                ),
            )
        study.add_trials([ended_trial(self._resolved, record) for record in answered])
        return study

    def _next(self) -> optuna.Trial | None:
        """What earlier commands left comes first; of what other drivers run, that which has ended
        comes at once, and the rest when no new point is left."""
        if self._pending:
            return self._asked(self._pending.popleft())
        for place, point in enumerate(self._others):
            if self._log.end(self._trial_at(point).evaluation_key) is not None:
                return self._asked(self._others.pop(place))
        if (fresh := self._claimed()) is not None:
            return fresh
        return self._asked(self._others.pop(0)) if self._others else None

    def _claimed(self) -> optuna.Trial | None:
        """A new point, which this driver chose; None if the search has all that it may have."""
        while len(self._keys) < self._num_points:
            trial = self._drawn()
            number = free_number(self._numbers)
            if self._log.claim(number, dict(trial.params) if trial else None):
                self._know(number, dict(trial.params) if trial else None)
                return trial
            if trial is not None:
                self._study.tell(trial, state=TrialState.FAIL)
            # Set aside by whoever found it damaged, it is free again.
            with suppress(FileNotFoundError):
                self._meet(number, self._log.point(number))
        return None

    def _meet(self, number: int, point: Point | None) -> None:
        """The number has this point, which is another driver's if this one does not know it."""
        if point is not None and self._is_new(point) and len(self._keys) < self._num_points:
            self._others.append(point)
        self._know(number, point)

    def _know(self, number: int, point: Point | None) -> None:
        self._numbers.add(number)
        if point is not None:
            self._keys.add(self._trial_at(point).evaluation_key)
        else:
            # Whoever claimed this number found no other point.
            self._num_points = 0

    def _drawn(self) -> optuna.Trial | None:
        """A point that the search has not had; None if there seems to be no other."""
        for _ in range(_NUM_TRIES):
            trial = self._study.ask(self._distributions)
            if self._is_new(trial.params):
                return trial
            self._study.tell(trial, state=TrialState.FAIL)
        new = (point for point in self._by_chance() if self._is_new(point))
        return self._asked(point) if (point := next(new, None)) is not None else None

    def _by_chance(self) -> Iterable[Point]:
        """All points of a small space in random order; of others, random ones."""
        listed = distinct_points(self._resolved, self._identities)
        if listed is not None:
            return self._rng.sample(listed, len(listed))
        names = self._space.items()
        return ({n: domain.draw(self._rng) for n, domain in names} for _ in range(_NUM_DRAWS))

    def _asked(self, point: Point) -> optuna.Trial:
        """Optuna's trial at this point."""
        self._study.enqueue_trial(point)
        return self._study.ask(self._distributions)

    def _is_new(self, point: Point) -> bool:
        return self._trial_at(point).evaluation_key not in self._keys

    def _trial_at(self, point: Point) -> Trial:
        return trial_at(self._resolved, self._space, point, self._identities)


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
