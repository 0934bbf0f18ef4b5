"""A Ray that is started on this machine: it listens on loopback only, and its files are private.

Ray by itself listens on every network interface, keeps its sessions in folders that every user of
the machine may write to, and writes its token to a file in the home folder that others may read.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tune_distill.records.leftovers import locked, remove_abandoned
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained
from tune_distill.spec.errors import ClusterError

_PREFIX = "td-ray-"

_SOCKET = "r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path of a socket below our folder."""

# A Unix socket's path has room for 108 bytes with a zero at the end, on macOS for 104.
_MOST_BYTES = 103 if sys.platform == "darwin" else 107

# Said once: Ray keeps the token that it has read as long as the process lives.
_TOKEN = secrets.token_hex(32)

# Where Ray is to run on one machine only, this variable has it use 127.0.0.1 for the node. Ray's
# servers then listen there; for any other address they listen on all interfaces.
_SINGLE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# Where nobody else is given a port by chance: above those of Ray's workers, below the ephemeral.
_HEAD_PORTS = range(20_000, 32_768)


@contextmanager
def private_options() -> Iterator[dict[str, Any]]:
    """Yield options of `ray.init` for a Ray that only this user can reach.

    Enter it before Ray is started, and leave it after Ray has been shut down: what Ray wrote is
    removed then, and the environment is as it was.

    Raises:
        StoreError: no folder for Ray's files can be made.
    """
    root = _root()
    # What killed commands have left.
    remove_abandoned(root, f"{_PREFIX}*")
    folder = root / f"{_PREFIX}{uuid.uuid4().hex[:8]}"
    with explained(root, SCRATCH_CHOSEN_WITH), locked(folder, lambda path: path.mkdir(mode=0o700)):
        keep = False
        try:
            token = folder / "auth_token"
            token.touch(mode=0o600)
            token.write_text(_TOKEN, encoding="ascii")
            environment = {
                "RAY_AUTH_TOKEN_PATH": str(token),
                # If Ray chose it, it would wait 30 s to be told, with all threads stopped, though
                # its gcs_server has ended.
                "RAY_GCS_SERVER_PORT": str(_free_port()),
                **_SINGLE_MACHINE,
            }
            with _environment(environment):
                yield {"_temp_dir": str(folder / "r"), "include_dashboard": False}
        except ClusterError:
            # Its logs say why Ray did not start; the next command removes them.
            keep = True
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    """The folder for Ray's: where Ray would have it, unless paths of sockets get too long there."""
    chosen = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    longest = f"{chosen}/{_PREFIX}{'x' * 8}/{_SOCKET}"
    return chosen if len(os.fsencode(longest)) <= _MOST_BYTES else Path("/tmp")


def _free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    for port in random.sample(_HEAD_PORTS, 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    # Let Ray choose, and say what is wrong.
    return 0


@contextmanager
def _environment(ours: Mapping[str, str]) -> Iterator[None]:
    """Let these variables hold in the block, without a token that is meant for another cluster."""
    # Ray itself sets RAY_AUTH_MODE when it starts.
    names = {*ours, "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"}
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ |= ours
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ |= before
