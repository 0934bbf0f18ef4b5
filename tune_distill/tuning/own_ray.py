"""A private Ray on this machine: it listens on loopback only, and no other user reads its files.

By default Ray listens on every network interface, keeps its sessions in folders that every user of
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

# A Unix socket's path has at most 108 bytes with a final zero, on macOS 104.
_MOST_BYTES = 103 if sys.platform == "darwin" else 107

# One token per process, because Ray caches the token that it has read.
_TOKEN = secrets.token_hex(32)

# With this variable Ray uses 127.0.0.1 as the node's address. Ray's servers then listen there;
# with any other address they listen on all interfaces.
_SINGLE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# Ports above those of Ray's workers and below the ephemeral ones, so that no other program gets one
# at random.
_HEAD_PORTS = range(20_000, 32_768)


@contextmanager
def private_options() -> Iterator[dict[str, Any]]:
    """Yield options of `ray.init` for a Ray that only this user can reach.

    Enter the block before Ray is started, and leave it after Ray has been shut down. Leaving it
    removes Ray's files and restores the environment.

    Raises:
        StoreError: no folder for Ray's files can be made.
    """
    root = _root()
    # Remove what killed commands have left.
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
                # If Ray chose the port itself and its gcs_server ended, Ray would wait 30 s for
                # the port, with all threads of this process blocked.
                "RAY_GCS_SERVER_PORT": str(_free_port()),
                **_SINGLE_MACHINE,
            }
            with _environment(environment):
                yield {"_temp_dir": str(folder / "r"), "include_dashboard": False}
        except ClusterError:
            # Keep the logs, which say why Ray did not start; the next command removes them.
            keep = True
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    """Return the parent of Ray's folder: Ray's default, unless socket paths get too long there."""
    chosen = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    longest = f"{chosen}/{_PREFIX}{'x' * 8}/{_SOCKET}"
    return chosen if len(os.fsencode(longest)) <= _MOST_BYTES else Path("/tmp")


def _free_port() -> int:
    """Return a port of loopback on which nothing listens."""
    for port in random.sample(_HEAD_PORTS, 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    # Let Ray choose a port, or report why there is none.
    return 0


@contextmanager
def _environment(ours: Mapping[str, str]) -> Iterator[None]:
    """Set these variables in the block, and hide tokens that are meant for another cluster."""
    # Restore RAY_AUTH_MODE too, which Ray sets when it starts.
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
