"""Ray: started here, or joined, quiet either way."""

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

Nodes = list[dict[str, float]]


@contextmanager
def running_ray(address: str | None, nice: int | None = None) -> Iterator[Nodes]:
    """Ray is running in the block; yields the resources of each live node.

    `address` None starts Ray on this machine for this block only, with workers of niceness `nice`
    (None stands for 0). After the block the process is as it was before.

    Raises:
        ClusterError: Ray cannot be started, nothing answers at `address`, or it lets nobody in
            without a token that is not here.
    """
    if address is not None:
        _require_joinable(address)
    # Ray's settings are read once more when the environment is as it was.
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
            # A failed trial is a row with its reason; its traceback is not news.
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            yield nodes


def _imported() -> ModuleType:
    """Our module around Ray, with Ray imported.

    Raises:
        ClusterError: Ray cannot be imported: with PYTHONOPTIMIZE=2, say.
    """
    try:
        from tune_distill.tuning import compat
    except Exception as error:
        raise ClusterError(_not_there(None, error, {})) from error
    return compat


@contextmanager
def _joined(address: str | None) -> Iterator[Nodes]:
    """Ray runs in the block, started here or joined at HOST:PORT, and is watched.

    Raises:
        ClusterError: it cannot be started or does not answer.
    """
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
        # Ray raises bare Exceptions, too.
        except Exception as error:
            raise ClusterError(_not_there(address, error, options)) from error
        begin_watch(watch)
        stack.callback(end_watch)
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _shut_down(watch: Watch) -> None:
    import ray

    # What refers to Ray's objects is collected while Ray is there: while it ends, that would end
    # the process, and when it was lost, that would wait for it.
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
    """A process may be no less nice than the one that starts it."""
    return max(nice, os.getpriority(os.PRIO_PROCESS, 0))


def _options(address: str | None) -> dict[str, Any]:
    """What ray.init is called with."""
    return {
        "address": address or "local",
        "log_to_driver": False,
        # Where Ray cannot start, one message of ours says so.
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
    """The folder of the logs of the Ray that was started last."""
    folder = options.get("_temp_dir")
    if folder is None:
        # As Ray documents it: RAY_TMPDIR, or the system's folder for temporary files.
        folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    return Path(folder) / "session_latest" / "logs"


def _require_joinable(address: str) -> None:
    """Raise ClusterError if `address` has the wrong form, or if nothing listens at HOST:PORT, which
    Ray itself would try for minutes."""
    if address.startswith("ray://"):
        raise ClusterError(
            f"--address: Tune's driver must be a node's own process, got {address}; "
            "name the head's HOST:PORT (by default 6379)"
        )
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
