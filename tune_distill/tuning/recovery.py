"""Texts about why a trial lost its worker."""

from __future__ import annotations

from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial as TuneTrial

from tune_distill.spec.redaction import one_line
from tune_distill.tuning.compat import last_error

# Words in Ray's texts about a worker's death, and our own; the first match counts.
_WAYS = (
    (OutOfMemoryError.__name__, "out of memory"),
    ("running low on memory", "out of memory"),
    ("node has died", "its node was lost"),
    ("node was terminated", "its node was lost"),
    ("is unavailable", "its node did not answer"),
    ("killed by `ray.kill`", "it was killed"),
)


def failure_reason(trial: TuneTrial) -> str:
    """Return in one line why the last attempt at a Tune trial failed, without Ray's wrapping."""
    error = last_error(trial)
    if error is None:
        return "Tune gave no reason"
    if isinstance(error, RayActorError):
        return f"worker died: {_way_to_die(error)}"
    return one_line(getattr(error, "cause", None) or error)


def _way_to_die(error: RayActorError) -> str:
    text = str(error)
    if error.actor_init_failed:
        # Ray's text ends with the traceback of the error that was raised at the worker's start.
        return f"it could not start: {text.strip().splitlines()[-1].strip()}"[:300]
    if error.preempted:
        return "its node was preempted"
    return next((ours for theirs, ours in _WAYS if theirs in text), "its process ended")
