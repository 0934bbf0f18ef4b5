"""Which planned trial Tune starts next: trainings first, and no run twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.search import Searcher

from tune_distill.spec.plan import Trial
from tune_distill.tuning.trainable import trial_config


class Trainings:
    """The runs that are stored, and those that a worker trains just now, for whichever study.

    Studies share runs: the first trial that asks for one trains it, and the others wait.
    """

    def __init__(self, has_run: Callable[[str], bool], stored: Iterable[str] = ()) -> None:
        self._has_run, self._stored = has_run, set(stored)
        self._begun: dict[str, str] = {}
        self._training: set[str] = set()

    def is_stored(self, run_key: str) -> bool:
        """Whether the run was stored when the studies began, or was made since."""
        return run_key in self._stored

    def wait(self, run_key: str) -> bool:
        """Whether some trial trains the run now."""
        return run_key in self._training

    def begin(self, trial_id: str, run_key: str) -> None:
        """Tune's trial of this name asks for the run: it trains it, unless it is stored."""
        self._begun[trial_id] = run_key
        if run_key not in self._stored:
            self._training.add(run_key)

    def end(self, trial_id: str) -> bool:
        """The trial has ended; whether its run is stored.

        Raises:
            StoreError: the store cannot say.
        """
        # Kept: what else a trial's end asks for may fail, and the trial ends once more.
        run_key = self._begun[trial_id]
        if run_key not in self._stored and self._has_run(run_key):
            self._stored.add(run_key)
        self._training.discard(run_key)
        return run_key in self._stored


class PlanSearch(Searcher):  # type: ignore[misc]
    """Hands out planned trials: a run's first trial trains it, the others wait for it.

    So a run is trained once, and decodings start as soon as theirs is there. When a training
    fails, the trials that wait for it are `left_out`: they would fail in the same way. The longest
    trainings come first, because one that is left for the end leaves the other workers idle.
    """

    def __init__(self, trials: Iterable[Trial], trainings: Trainings) -> None:
        super().__init__()
        self._trainings = trainings
        self._given: dict[str, Trial] = {}
        self.left_out: list[Trial] = []
        trainers: dict[str, Trial] = {}
        decoders = []
        for trial in trials:
            if trainings.is_stored(trial.run_key) or trial.run_key in trainers:
                decoders.append(trial)
            else:
                trainers[trial.run_key] = trial
        self._waiting = [*sorted(trainers.values(), key=_work, reverse=True), *decoders]

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._waiting:
            return str(Searcher.FINISHED)
        for position, trial in enumerate(self._waiting):
            if not self._trainings.wait(trial.run_key):
                self._given[trial_id] = self._waiting.pop(position)
                self._trainings.begin(trial_id, trial.run_key)
                return trial_config(trial.study, trial.setting, trial.seed)
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A plan does not change with results."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        run_key = self._given[trial_id].run_key
        # A trial whose decoding failed leaves its run to the others.
        if not self._trainings.end(trial_id):
            self.left_out += [other for other in self._waiting if other.run_key == run_key]
            self._waiting = [other for other in self._waiting if other.run_key != run_key]

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store resumes studies."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def _work(trial: Trial) -> int:
    """How much the trial's run has to train, in tokens at most."""
    train = trial.profile.train
    length = train.max_source_length + train.max_target_length
    return trial.data.num_train * train.num_epochs * length
