"""Queues, which decide the trial that starts next: trainings first, and no run twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

from tune_distill.records.trials import TrialState
from tune_distill.spec.plan import Trial

Pause = Literal["wait", "finished"]
"""Why a queue returns no trial: all others wait for runs in training, or none is left."""


class TrialQueue(Protocol):
    """The trials of one study, in the order in which an executor starts them."""

    def next(self) -> Trial | Pause:
        """Return the trial that starts now."""

    def reported(self, trial: Trial, step: int, eval_loss: float | None) -> None:
        """Take note of a trial's loss at this step."""

    def ended(self, trial: Trial, state: TrialState, value: float | None) -> None:
        """Take note of a trial's end; `value` is the study's metric of a complete one.

        May be called again for a trial whose end could not be recorded.
        """


class Trainings:
    """The stored runs and the runs in training, of all studies.

    Studies share runs: the first trial of a run trains it, and the others wait.
    """

    def __init__(self, has_run: Callable[[str], bool], stored: Iterable[str] = ()) -> None:
        self._has_run, self._stored = has_run, set(stored)
        self._training: set[str] = set()

    def is_stored(self, run_key: str) -> bool:
        """Return whether the run was stored when the studies began, or has been trained since."""
        return run_key in self._stored

    def is_training(self, run_key: str) -> bool:
        """Return whether a trial is training the run."""
        return run_key in self._training

    def begin(self, run_key: str) -> None:
        """Note that a trial of this run starts. It trains the run unless the run is stored."""
        if run_key not in self._stored:
            self._training.add(run_key)

    def end(self, run_key: str) -> bool:
        """Note that a trial of the run has ended; return whether the run is stored.

        Raises:
            StoreError: the store cannot be read.
        """
        if run_key not in self._stored and self._has_run(run_key):
            self._stored.add(run_key)
        self._training.discard(run_key)
        return run_key in self._stored


class PlannedQueue:
    """Hands out planned trials: a run's first trial trains it, and the others wait for it.

    So each run is trained once, and decodings start as soon as their run is stored. If a training
    fails, the trials that wait for it are `left_out`, because they would fail in the same way. The
    longest trainings come first, because other workers would idle during a long last one.
    """

    def __init__(self, trials: Iterable[Trial], trainings: Trainings) -> None:
        self._trainings = trainings
        self.left_out: list[Trial] = []
        trainers: dict[str, Trial] = {}
        decoders = []
        for trial in trials:
            if trainings.is_stored(trial.run_key) or trial.run_key in trainers:
                decoders.append(trial)
            else:
                trainers[trial.run_key] = trial
        self._waiting = [*sorted(trainers.values(), key=_work, reverse=True), *decoders]

    def next(self) -> Trial | Pause:
        for position, trial in enumerate(self._waiting):
            if not self._trainings.is_training(trial.run_key):
                self._trainings.begin(trial.run_key)
                return self._waiting.pop(position)
        return "wait" if self._waiting else "finished"

    def reported(self, trial: Trial, step: int, eval_loss: float | None) -> None:
        """Do nothing: the order of planned trials does not depend on losses."""

    def ended(self, trial: Trial, state: TrialState, value: float | None) -> None:
        # If only the decoding failed, the run is stored and the other trials can use it.
        if not self._trainings.end(trial.run_key):
            self.left_out += [other for other in self._waiting if other.run_key == trial.run_key]
            self._waiting = [other for other in self._waiting if other.run_key != trial.run_key]


class Queues:
    """Several queues as one; the first queue with a ready trial hands it out."""

    def __init__(self, queues: Sequence[TrialQueue]) -> None:
        self._left = list(queues)
        self._of: dict[tuple[str, str], TrialQueue] = {}

    def next(self) -> Trial | Pause:
        for queue in list(self._left):
            trial = queue.next()
            if isinstance(trial, Trial):
                self._of[trial.study, trial.trial_id] = queue
                return trial
            if trial == "finished":
                self._left.remove(queue)
        return "wait" if self._left else "finished"

    def reported(self, trial: Trial, step: int, eval_loss: float | None) -> None:
        self._of[trial.study, trial.trial_id].reported(trial, step, eval_loss)

    def ended(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self._of[trial.study, trial.trial_id].ended(trial, state, value)


def _work(trial: Trial) -> int:
    """Return an upper bound on the tokens that the trial's run trains on."""
    train = trial.profile.train
    length = train.max_source_length + train.max_target_length
    return trial.data.num_train * train.num_epochs * length
