"""Starts Ray on this machine or joins a cluster, and silences its output."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tune_distill.spec.errors import ClusterError
from tune_distill.tuning.access import let_in
from tune_distill.tuning.alive import Head, OwnProcesses, Watch, begin_watch, end_watch
from tune_distill.tuning.guest import environment_kept, loggers_kept, process_kept
from tune_distill.tuning.keeper import StartError, kept
from tune_distill.tuning.own_ray import private_options

logger = logging.getLogger(__name__)

# Ray reads these variables when it is imported or starts its processes.
_ENVIRONMENT = {
    # Turn off Tune's console output and its CSV, JSON and TensorBoard loggers; we have our own.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Metrics such as accuracy are only in a trial's last result.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # The store resumes studies, so Tune's own snapshots would only take time.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # If this is not set, tokenizers warn about each process started after they were used.
    "TOKENIZERS_PARALLELISM": "true",
}

_CONNECT_TIMEOUT_S = 10.0

Nodes = list[dict[str, float]]


@contextmanager
def running_ray(address: str | None, nice: int | None = None) -> Iterator[Nodes]:
    """Start or join Ray for the block; yield the resources of each live node.

    If `address` is None, Ray is started on this machine, with workers of niceness `nice` (None
    means 0). After the block the process is as it was before.

    Raises:
        ClusterError: Ray cannot be started, nothing answers at `address`, or the cluster requires
            a token that this machine lacks.
    """
    if address is not None:
        _require_joinable(address)
    # `_settings_read_again` is left last, when the environment has been restored.
    with _settings_read_again(), environment_kept(_ENVIRONMENT), process_kept():
        compat = _imported()
        if address is not None:
            address = let_in(address)
        if line := compat.missing_line(compat.JOINED if address else compat.STARTED_HERE):
            logger.warning("%s", line)
        if address is None:
            for name, value in compat.niceness(_effective(nice or 0)).items():
                if nice is not None or name not in os.environ:
                    os.environ[name] = value
        elif nice is not None:
            logger.warning(
                "--nice does not apply to a cluster that is joined: its nodes set the niceness of "
                "their workers when they start"
            )
        with loggers_kept(), compat.quiet_about_workers(), _joined(address) as nodes:
            # A failed trial becomes a row with its reason, so do not log its traceback.
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            yield nodes


def _imported() -> ModuleType:
    """Return our compat module, which imports Ray; this fails with PYTHONOPTIMIZE=2."""
    try:
        from tune_distill.tuning import compat
    except Exception as error:
        raise ClusterError(_not_there(None, error, {})) from error
    return compat


@contextmanager
def _joined(address: str | None) -> Iterator[Nodes]:
    """Start Ray here or join the one at HOST:PORT for the block, and watch it."""
    import ray

    from tune_distill.tuning import compat

    processes = OwnProcesses(Path(ray.__file__).parent)
    watch = processes if address is None else Head(address)
    with ExitStack() as stack:
        options = _options(address)
        if address is None:
            stack.enter_context(compat.single_machine())
            options |= stack.enter_context(private_options())
        try:
            stack.enter_context(
                kept(lambda: ray.init(**options), lambda: _shut_down(watch), processes, watch)
            )
        # Ray also raises bare Exceptions.
        except Exception as error:
            raise ClusterError(_not_there(address, error, options)) from error
        begin_watch(watch)
        stack.callback(end_watch)
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _shut_down(watch: Watch) -> None:
    import ray

    # Collect objects that refer to Ray while it still runs. Collecting them during Ray's shutdown
    # would kill the process, and after Ray was lost would wait for it for ever.
    was_enabled = gc.isenabled()
    if watch.ended():
        gc.freeze()
    else:
        gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _settings_read_again() -> Iterator[None]:
    try:
        yield
    finally:
        if compat := sys.modules.get("tune_distill.tuning.compat"):
            compat.read_settings_again()


def _effective(nice: int) -> int:
    """Return `nice`, or this process's niceness if larger: a child cannot be less nice."""
    return max(nice, os.getpriority(os.PRIO_PROCESS, 0))


def _options(address: str | None) -> dict[str, Any]:
    """Return the options of ray.init."""
    return {
        "address": address or "local",
        "log_to_driver": False,
        # If Ray cannot start, our own error says so.
        "logging_level": logging.CRITICAL,
    }


def _not_there(address: str | None, error: Exception, options: Mapping[str, Any]) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if address is not None:
        return f"--address: a Ray cluster at {address} must let this process join, got: {reason}"
    if not isinstance(error, StartError):
        reason = f"{type(error).__name__}: {reason}"
    inherited = [name for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE") if os.environ.get(name)]
    remedy = f"unset {' and '.join(inherited)}, or " if inherited else ""
    return (
        f"Ray: must start on this machine, got: {reason}; {remedy}"
        f"see Ray's logs in {_logs(options)}/raylet.err and beside it"
    )


def _logs(options: Mapping[str, Any]) -> Path:
    """Return the folder of logs of the Ray that was started last."""
    folder = options.get("_temp_dir")
    if folder is None:
        # As Ray documents it: RAY_TMPDIR, or the system's folder for temporary files.
        folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    return Path(folder) / "session_latest" / "logs"


def _require_joinable(address: str) -> None:
    """Raise ClusterError if `address` is malformed or silent; Ray itself would try for minutes."""
    if address.startswith("ray://"):
        raise ClusterError(
            f"--address: Tune's driver must be a node's own process, got {address}; "
            "name the head's HOST:PORT (by default 6379)"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        # For "auto" and the like, Ray finds the address or fails at once.
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(
            f"--address: a Ray cluster must answer at {address}, got: {error}; "
            "check the head's address and port, or leave --address out to run here"
        ) from error
