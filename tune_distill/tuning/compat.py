"""The only module that uses undocumented names of Ray.

Each name is declared as part of a capability. When this module is imported, it checks that each
name exists and takes the arguments that we pass. If a check fails, the capability is off, the
functions below use documented means instead, and `missing_line` informs the user.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError

from tune_distill.spec.errors import ClusterError
from tune_distill.tuning.capabilities import Capability, Name, resolve

_CONTROLLER = "ray.tune.execution.tune_controller.TuneController"
_MANAGER = "ray.air.execution._internal.actor_manager.RayActorManager"
_TRIAL = "ray.tune.experiment.trial.Trial"

QUIET = Capability(
    "Ray prints messages of its own about lost workers",
    (Name("ray._private.worker.print_to_stdstream", ("data", "ignore_prefix")),),
)
RECOVERY = Capability(
    "a worker that runs out of memory ends the study, and one that dies between two trials "
    "fails the second",
    (
        Name("ray.tune.tune.TuneController"),
        Name(f"{_CONTROLLER}._actor_failed", ("self", "tracked_actor", "exception")),
        Name(f"{_CONTROLLER}._trial_task_failure", ("self", "trial", "exception")),
        Name(f"{_CONTROLLER}._actor_manager", set_by="__init__"),
        Name(f"{_CONTROLLER}._resetting_trials", set_by="__init__"),
        Name(f"{_CONTROLLER}._actor_to_trial", set_by="__init__"),
        Name(f"{_CONTROLLER}._trial_to_actor", set_by="__init__"),
        Name(_MANAGER, ("resource_manager",)),
        Name(f"{_MANAGER}._resource_manager", set_by="__init__"),
        Name(f"{_MANAGER}._actor_start_failed", ("self", "tracked_actor", "exception")),
        Name(f"{_MANAGER}._actor_task_failed", ("self", "tracked_actor_task", "exception")),
    ),
)
KILLING = Capability(
    "a stopped worker, or one on a node that nobody reaches, is not ended at --trial-time-limit",
    (
        Name(f"{_TRIAL}.temporary_state", set_by="set_ray_actor"),
        Name(f"{_TRIAL}.ray_actor", set_by="set_ray_actor"),
    ),
)
RETRIES = Capability(
    "--max-retries counts from a trial's start, not from its last checkpoint",
    (
        Name(f"{_TRIAL}.max_failures", set_by="__init__"),
        Name(f"{_TRIAL}.num_failures"),
    ),
)
REASONS = Capability(
    "a trial that fails with its worker does not say why",
    (Name(f"{_TRIAL}.pickled_error_file"),),
)
FINDING = Capability(
    "--address auto finds a cluster by RAY_ADDRESS only",
    (Name("ray._private.services.canonicalize_bootstrap_address", ("addr", "temp_dir")),),
)
SETTINGS = Capability(
    "a cluster that asks for a token is joined only with RAY_AUTH_MODE=token set",
    (
        Name("ray._raylet.Config.initialize", ("config_list",)),
        Name("ray._raylet.AuthenticationTokenLoader.instance", ()),
        Name("ray._raylet.AuthenticationTokenLoader.reset_cache", ("self",)),
    ),
)
REQUESTS = Capability(
    "answers of a dashboard have no limits of time and size, and redirections are followed",
    (
        Name(
            "ray.job_submission.JobSubmissionClient._do_request",
            ("self", "method", "endpoint", "data", "json_data", "kwargs"),
        ),
    ),
)
NICENESS = Capability(
    "--nice has no effect: workers run at Ray's own niceness",
    (Name("ray._private.ray_constants.RAY_WORKER_NICENESS"),),
)

LOOPBACK = Capability(
    "a Ray that was imported before listens on all networks of this machine",
    (Name("ray._private.ray_constants.ENABLE_RAY_CLUSTER"),),
)

WHEREVER = (QUIET, RECOVERY, KILLING, RETRIES, REASONS)
STARTED_HERE = (*WHEREVER, NICENESS, LOOPBACK)
JOINED = (*WHEREVER, FINDING, SETTINGS)
CAPABILITIES = (*STARTED_HERE, FINDING, SETTINGS, REQUESTS)

_MISSING = {capability: capability.missing() for capability in CAPABILITIES}


def has(capability: Capability) -> bool:
    """Return whether all names of the capability can be used."""
    return not _MISSING[capability]


def missing_line(capabilities: Iterable[Capability]) -> str | None:
    """Return a line about those of these capabilities that this Ray lacks, or None."""
    lost = [capability for capability in capabilities if not has(capability)]
    if not lost:
        return None
    paths = [path for capability in lost for path in _MISSING[capability]]
    listed = ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
    losses = "; ".join(capability.lost for capability in lost)
    return f"Ray {ray.__version__} lacks {listed}, so the study does without: {losses}"


@contextmanager
def quiet_about_workers() -> Iterator[None]:
    """Keep Ray from printing deaths of workers in the block; our own lines report them."""
    if not has(QUIET):
        yield
        return
    from ray._private import worker

    original = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, ignore_prefix: None
    try:
        yield
    finally:
        worker.print_to_stdstream = original


@contextmanager
def single_machine() -> Iterator[None]:
    """Let a Ray that is started in the block listen on loopback only.

    Ray reads the variable RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER once, when it is imported.
    """
    if not has(LOOPBACK):
        yield
        return
    from ray._private import ray_constants

    original = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = original


@contextmanager
def recovering() -> Iterator[None]:
    """Let an experiment that starts in the block survive every kind of death of a worker.

    Tune itself ends the experiment when Ray's out-of-memory monitor kills a worker, and fails the
    trial of a worker that dies between two trials.
    """
    if not has(RECOVERY):
        yield
        return
    tune_run: Any = importlib.import_module("ray.tune.tune")
    original = tune_run.TuneController
    tune_run.TuneController = _recovering_controller(original)
    try:
        yield
    finally:
        tune_run.TuneController = original


def _recovering_controller(controller: Any) -> Any:
    """Return a TuneController that also restarts a trial whose worker died before it began."""
    from ray.air.execution._internal.actor_manager import RayActorManager

    class Workers(RayActorManager):  # type: ignore[misc]
        """Reports every loss of a worker to Tune in the one form that it handles."""

        def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
            super()._actor_start_failed(tracked_actor, _as_actor_error(exception))

        def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
            super()._actor_task_failed(tracked_actor_task, _as_actor_error(exception))

    class Controller(controller):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            resources = self._actor_manager._resource_manager
            self._actor_manager: Any = Workers(resource_manager=resources)

        def _actor_failed(self, tracked_actor: Any, exception: Exception) -> None:
            # Otherwise Tune would wait for ever for the dead worker's reset.
            self._resetting_trials.discard(self._actor_to_trial[tracked_actor])
            super()._actor_failed(tracked_actor, exception)

        def _trial_task_failure(self, trial: Any, exception: Exception) -> None:
            # A reset that fails because its worker died is reported twice. After the first report
            # the trial has been queued again or has ended.
            if trial.status == trial.RUNNING or trial in self._trial_to_actor:
                super()._trial_task_failure(trial, exception)

    return Controller


def _as_actor_error(exception: Exception) -> Exception:
    known: Exception = exception
    if not isinstance(exception, RayActorError | RayTaskError):
        text = " ".join(str(exception).split())
        known = RayActorError(error_msg=f"{type(exception).__name__}: {text}"[:500])
    return known


def worker_of(trial: Any) -> Any:
    """Return the actor that runs Tune's trial; None if it is unknown."""
    return trial.temporary_state.ray_actor if has(KILLING) else None


def allow_retries(trial: Any, num_retries: int) -> None:
    """Allow Tune's trial `num_retries` more retries; without the names, that many in all."""
    if has(RETRIES):
        trial.max_failures = trial.num_failures + num_retries


def last_error(trial: Any) -> Exception | None:
    """Return the error that ended the last attempt at Tune's trial; None if it is unknown."""
    # The driver has just written this file; Trial.get_pickled_error reads a later copy.
    file = trial.pickled_error_file if has(REASONS) else None
    if file is None:
        return None
    return cast(Exception, cloudpickle.loads(Path(file).read_bytes()))


def found_head() -> str:
    """Return HOST:PORT of the cluster that Ray's address "auto" means.

    Raises:
        ClusterError: there is no such cluster.
    """
    try:
        if has(FINDING):
            return str(resolve(FINDING.names[0].path)("auto"))
        return os.environ["RAY_ADDRESS"]
    except (ConnectionError, ValueError, KeyError) as error:
        reason = "no RAY_ADDRESS" if isinstance(error, KeyError) else error
        raise ClusterError(
            f"--address: a Ray cluster must run where 'auto' looks for one, got: {reason}"
        ) from error


def read_settings_again() -> bool:
    """Make Ray read its settings from the environment again; return whether this is possible.

    Ray reads them once, when it is imported.
    """
    if has(SETTINGS):
        from ray._raylet import (  # type: ignore[attr-defined]
            AuthenticationTokenLoader,
            Config,
        )

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
    return has(SETTINGS)


def limit_requests(client: Any, **options: Any) -> None:
    """Add these options of the requests library to each request of a JobSubmissionClient."""
    if has(REQUESTS):
        client._do_request = functools.partial(client._do_request, **options)


def niceness(value: int) -> dict[str, str]:
    """Return the environment variables with which a started Ray gives workers this niceness."""
    return {resolve(NICENESS.names[0].path): str(value)} if has(NICENESS) else {}
