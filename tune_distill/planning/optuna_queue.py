"""The queue of an Optuna search, which chooses the next point."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

import optuna
from optuna.trial import TrialState as OptunaState

from tune_distill.planning.journal import quiet
from tune_distill.planning.queue import Pause, Trainings
from tune_distill.planning.search_ends import distributions, ended_trial
from tune_distill.planning.space import distinct_points, point_of, trial_at
from tune_distill.records.search_log import Point, SearchLog, free_number
from tune_distill.records.trials import TrialRecord, TrialState
from tune_distill.spec.metrics import IN_STEPS
from tune_distill.spec.plan import AskedOnce, Identities, Plan, Trial
from tune_distill.spec.settings import domains

# TPE needs some random points first; Optuna's default of 10 would leave little of a short search.
_NUM_STARTUP_TRIALS = 5

# How many times TPE, and then a random draw, may repeat a point before the search gives up.
_NUM_TRIES = 10
_NUM_DRAWS = 1_000


class OptunaQueue:
    """Optuna's TPE over the points in a search's log.

    A driver chooses a point by claiming its number in the log, so drivers that share a search
    choose each point once. Each driver hands out every point, also those that other drivers chose,
    and reuses the results that these stored. `answered` are the trials that ended before.
    """

    def __init__(
        self,
        plan: Plan,
        identities: Identities,
        log: SearchLog,
        trainings: Trainings,
        answered: Iterable[TrialRecord],
    ) -> None:
        self._resolved, self._log, self._trainings = plan.resolved, log, trainings
        self._identities = AskedOnce(identities)
        self._space = domains(plan.resolved.study, plan.resolved.profile)
        self._distributions = distributions(self._space)
        self._reports = plan.resolved.study.metric.name in IN_STEPS
        seed = plan.resolved.study.search.seed + len(plan.trials)
        self._rng = random.Random(seed)
        self._reported: dict[str, int] = {}
        self._asked_for: dict[str, optuna.Trial] = {}
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

    def next(self) -> Trial | Pause:
        asked = self._held or self._next()
        if asked is None:
            return "finished"
        trial = self._trial_at(asked.params)
        if self._trainings.is_training(trial.run_key):
            self._held = asked
            return "wait"
        self._held = None
        self._asked_for[trial.trial_id] = asked
        self._trainings.begin(trial.run_key)
        return trial

    def reported(self, trial: Trial, step: int, eval_loss: float | None) -> None:
        if not self._reports or eval_loss is None:
            return
        # A retried trial repeats its earlier reports, for which Optuna would warn.
        if step > self._reported.get(trial.trial_id, -1):
            self._reported[trial.trial_id] = step
            self._asked_for[trial.trial_id].report(eval_loss, step)

    def ended(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self._trainings.end(trial.run_key)
        told = {"pruned": OptunaState.PRUNED, "failed": OptunaState.FAIL}.get(state)
        if told is None:
            # Optuna accepts no complete trial without a value.
            told = OptunaState.FAIL if value is None else OptunaState.COMPLETE
        value = value if told == OptunaState.COMPLETE else None
        # If a later step fails, the trial ends again; the second `tell` is ignored.
        self._study.tell(self._asked_for[trial.trial_id], value, told, skip_if_finished=True)

    def _told(self, seed: int, answered: Iterable[TrialRecord]) -> optuna.Study:
        """Return an in-memory Optuna study that knows the answered trials."""
        with quiet():
            study = optuna.create_study(
                direction="maximize" if self._resolved.study.metric.mode == "max" else "minimize",
                # A resumed search must not repeat its first random draws.
                sampler=optuna.samplers.TPESampler(
                    n_startup_trials=_NUM_STARTUP_TRIALS, seed=seed, constant_liar=True
                ),
            )
        study.add_trials([ended_trial(self._resolved, record) for record in answered])
        return study

    def _next(self) -> optuna.Trial | None:
        """Return Optuna's trial at the next point; None if there is none.

        First come points that earlier commands left, then points that other drivers have ended,
        then new points, then points that other drivers are running.
        """
        if self._pending:
            return self._asked(self._pending.popleft())
        for place, point in enumerate(self._others):
            if self._log.end(self._trial_at(point).evaluation_key) is not None:
                return self._asked(self._others.pop(place))
        if (fresh := self._claimed()) is not None:
            return fresh
        return self._asked(self._others.pop(0)) if self._others else None

    def _claimed(self) -> optuna.Trial | None:
        """Claim and return a new point; None if the search has enough or no other points."""
        while len(self._keys) < self._num_points:
            trial = self._drawn()
            number = free_number(self._numbers)
            if self._log.claim(number, dict(trial.params) if trial else None):
                self._know(number, dict(trial.params) if trial else None)
                return trial
            if trial is not None:
                self._study.tell(trial, state=OptunaState.FAIL)
            # A damaged point was set aside, which frees its number.
            with suppress(FileNotFoundError):
                self._meet(number, self._log.point(number))
        return None

    def _meet(self, number: int, point: Point | None) -> None:
        """Note a claimed number. A point that is not known here was chosen by another driver."""
        if point is not None and self._is_new(point) and len(self._keys) < self._num_points:
            self._others.append(point)
        self._know(number, point)

    def _know(self, number: int, point: Point | None) -> None:
        self._numbers.add(number)
        if point is not None:
            self._keys.add(self._trial_at(point).evaluation_key)
        else:
            # The driver that claimed this number found no other point in the space.
            self._num_points = 0

    def _drawn(self) -> optuna.Trial | None:
        """Return a point that the search has not had; None if there seems to be no other."""
        for _ in range(_NUM_TRIES):
            trial = self._study.ask(self._distributions)
            if self._is_new(trial.params):
                return trial
            self._study.tell(trial, state=OptunaState.FAIL)
        new = (point for point in self._by_chance() if self._is_new(point))
        return self._asked(point) if (point := next(new, None)) is not None else None

    def _by_chance(self) -> Iterable[Point]:
        """Return all points of a small space in random order; of a large one, random points."""
        listed = distinct_points(self._resolved, self._identities)
        if listed is not None:
            return self._rng.sample(listed, len(listed))
        names = self._space.items()
        return ({n: domain.draw(self._rng) for n, domain in names} for _ in range(_NUM_DRAWS))

    def _asked(self, point: Point) -> optuna.Trial:
        """Return Optuna's trial at this point."""
        self._study.enqueue_trial(point)
        return self._study.ask(self._distributions)

    def _is_new(self, point: Point) -> bool:
        return self._trial_at(point).evaluation_key not in self._keys

    def _trial_at(self, point: Point) -> Trial:
        return trial_at(self._resolved, self._space, point, self._identities)
