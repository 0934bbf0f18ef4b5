"""Ray: started here, or joined, quiet either way."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tune_distill.spec.errors import ClusterError
from tune_distill.tuning.access import let_in
from tune_distill.tuning.imports import no_garbage
from tune_distill.tuning.lean import lean_ray
from tune_distill.tuning.own_ray import private_options

# Read when Ray is imported or starts its processes, so set before either.
_ENVIRONMENT = {
    # Tune's console output and CSV, JSON and TensorBoard loggers: ours take their place.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Accuracy and the like come with a trial's last result only.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # The store resumes studies; Tune's own snapshots would only take time.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Where it is not said, tokenizers warn of each process that is started after they were used.
    "TOKENIZERS_PARALLELISM": "true",
}

_CONNECT_TIMEOUT_S = 10.0


@contextmanager
def running_ray(address: str | None) -> Iterator[list[dict[str, float]]]:
    """Ray is running in the block; yields the resources of each live node.

    `address` none starts Ray on this machine for this block only.

    Raises:
        ClusterError: Ray cannot be started, nothing answers at `address`, or it lets nobody in
            without a token that is not here.
    """
    if address is not None:
        if address.startswith("ray://"):
            raise ClusterError(
                f"--address: Tune's driver must be a node's own process, got {address}; "
                "name the head's HOST:PORT (by default 6379)"
            )
        _require_listening(address)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address is not None:
        address = let_in(address)
    own: AbstractContextManager[dict[str, Any]] = nullcontext({}) if address else private_options()
    with own as private:
        yield from _running(address, private)


def _running(address: str | None, private: dict[str, Any]) -> Iterator[list[dict[str, float]]]:
    import ray
    from ray._private import worker

    # Ray would print every worker's death among our lines, which tell of it themselves.
    worker.print_to_stdstream = lambda *_, **__: None
    # A failed trial is a row with its reason; its traceback is not news.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        with nullcontext() if address else lean_ray():
            ray.init(address=address or "local", **_options(address), **private)
    except _start_errors() as error:
        what = f"a Ray cluster at {address}" if address else "Ray on this machine"
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"--address: {what} must start or answer, got: {reason}") from error
    try:
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        # A reference to Ray that another thread collects meanwhile would end the process.
        with no_garbage():
            ray.shutdown()


def _require_listening(address: str) -> None:
    """Nothing, where something listens at HOST:PORT: Ray itself would try for minutes.

    Raises:
        ClusterError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        # "auto" and the like: Ray finds the address, or says at once that there is none.
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(
            f"--address: a Ray cluster must answer at {address}, got: {error}; "
            "check the head's address and port, or leave --address out to run here"
        ) from error


def _start_errors() -> tuple[type[Exception], ...]:
    """What Ray raises when it cannot start or join: its own errors, and plain ones."""
    from ray import exceptions

    own = (exceptions.RayError, exceptions.AuthenticationError)
    return (OSError, ValueError, RuntimeError, *own)


def _options(address: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Tune's workers are processes of their own: those that Ray has ready would idle.
        options["_system_config"] = {"prestart_worker_first_driver": False}
    return options
