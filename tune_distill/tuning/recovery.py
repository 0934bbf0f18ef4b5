"""Tune survives every way in which a worker can die.

Tune itself ends the experiment when Ray's out-of-memory monitor kills a worker, and fails the trial
of a worker that dies between two trials. Both are put right here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.tune.tune as tune_run
from ray import cloudpickle
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from tune_distill.tuning.trainable import one_line

# What Ray's texts say of the ways to die, and what we say; the first that is found counts.
_WAYS = (
    (OutOfMemoryError.__name__, "out of memory"),
    ("running low on memory", "out of memory"),
    ("node has died", "its node was lost"),
    ("node was terminated", "its node was lost"),
    ("is unavailable", "its node did not answer"),
    ("killed by `ray.kill`", "it was killed"),
)


class _Workers(RayActorManager):  # type: ignore[misc]
    """Tells Tune of every loss of a worker in the one form that it knows."""

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
        super()._actor_start_failed(tracked_actor, _known(exception))

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        super()._actor_task_failed(tracked_actor_task, _known(exception))


def _known(exception: Exception) -> Exception:
    known: Exception = exception
    if not isinstance(exception, RayActorError | RayTaskError):
        known = RayActorError(error_msg=one_line(exception))
    return known


class _Controller(TuneController):  # type: ignore[misc]
    """Starts a trial again also if its worker died while it waited for that trial."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        resources = self._actor_manager._resource_manager
        self._actor_manager: Any = _Workers(resource_manager=resources)

    def _actor_failed(self, tracked_actor: Any, exception: Exception) -> None:
        # Tune would wait for ever for the reset of a worker that is no more.
        self._resetting_trials.discard(self._actor_to_trial[tracked_actor])
        super()._actor_failed(tracked_actor, exception)

    def _trial_task_failure(self, trial: TuneTrial, exception: Exception) -> None:
        # A reset that fails with its worker is told twice, and the first time the trial was queued
        # again or ended.
        if trial.status == TuneTrial.RUNNING or trial in self._trial_to_actor:
            super()._trial_task_failure(trial, exception)


@contextmanager
def recovering() -> Iterator[None]:
    """An experiment that starts in the block survives the deaths of its workers."""
    original = tune_run.TuneController
    tune_run.TuneController = _Controller
    try:
        yield
    finally:
        tune_run.TuneController = original


def failure_reason(trial: TuneTrial) -> str:
    """Why the last attempt at a Tune trial failed, in one line, without Ray's wrapping."""
    # The driver's own file, written a moment ago: Trial.get_pickled_error reads a later copy.
    file = trial.pickled_error_file
    if file is None:
        return "Tune gave no reason"
    error = cloudpickle.loads(Path(file).read_bytes())
    if isinstance(error, RayActorError):
        return f"worker died: {_way_to_die(error)}"
    return one_line(getattr(error, "cause", None) or error)


def _way_to_die(error: RayActorError) -> str:
    text = str(error)
    if error.actor_init_failed:
        # Ray shows the traceback of what was raised while the worker started.
        return f"it could not start: {text.strip().splitlines()[-1].strip()}"[:300]
    if error.preempted:
        return "its node was preempted"
    return next((ours for theirs, ours in _WAYS if theirs in text), "its process ended")
