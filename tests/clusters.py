"""Real Ray clusters for tests: `ray start --block` processes, each with its own folder.

Nodes have loopback addresses that no other cluster uses. With `network=True` each node is in a
network namespace on a bridge of this host instead, and can be cut off.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.networks import Namespace, Network
from tests.processes import Process, free_port, kill_all, processes, wait_until
from tests.study_process import StudyProcess

MARK = "TUNE_DISTILL_TEST_CLUSTER"
"""The variable that identifies the cluster in the environment of all its processes."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="makes network namespaces: needs root and the ip command",
)

# A silent node is given up after a few seconds instead of Ray's 45.
QUICK_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}

_START_TIMEOUT_S = 90.0
_OBJECT_STORE_BYTES = 128 * 2**20

_UNTIL_DEAD = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
while any(node["NodeID"] == sys.argv[2] and node["Alive"] for node in ray.nodes()):
    time.sleep(0.2)
"""


class Node:
    """One `ray start --block` process with its own session and folders."""

    def __init__(
        self,
        folder: Path,
        address: str,
        namespace: Namespace | None,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hidden: Sequence[Path],
    ) -> None:
        self.folder, self.address, self._namespace = folder, address, namespace
        self._environment = dict(environment)
        self._command = [
            *(namespace.enter if namespace else []),
            *_hiding(hidden),
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments),
            *(f"--node-ip-address={address}", f"--temp-dir={folder / 'ray'}"),
        ]
        self.process: subprocess.Popen[bytes]

    def start(self) -> Self:
        """Start the node, and wait until it has joined."""
        work = self.folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=work,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._has_started, f"a Ray node at {self.address}", _START_TIMEOUT_S)
        return self

    def restart(self) -> Self:
        """Start the node again, as a supervisor would; for Ray it is a new node."""
        self.kill()
        return self.start()

    @property
    def pids(self) -> list[int]:
        """Return all processes of the node that still run."""
        return [process.pid for process in self._processes()]

    @property
    def raylet(self) -> Process:
        (raylet,) = [process for process in self._processes() if process.is_raylet]
        return raylet

    @property
    def node_id(self) -> str:
        """Return Ray's id of the node, which is known while its raylet runs."""
        prefix = "--node_id="
        (given,) = [
            part.removeprefix(prefix)
            for part in self.raylet.command.split("\0")
            if part.startswith(prefix)
        ]
        return given

    def workers(self) -> list[int]:
        """Return the node's worker processes, busy and idle ones."""
        return [process.pid for process in self._workers()]

    def busy_workers(self) -> list[int]:
        """Return the workers that have an actor or a task."""
        return [
            process.pid
            for process in self._workers()
            if not process.command.startswith("ray::IDLE")
        ]

    def kill_raylet(self) -> None:
        """Kill the raylet, and wait until all of the node's processes have ended."""
        os.kill(self.raylet.pid, signal.SIGKILL)
        wait_until(lambda: not self.pids, f"the end of the node at {self.address}", 30)

    def cut_off(self) -> None:
        """Silently drop all packets from and to the node."""
        assert self._namespace is not None, "the cluster has no network of its own"
        self._namespace.detach()

    def bring_back(self) -> None:
        """Let packets pass again."""
        assert self._namespace is not None, "the cluster has no network of its own"
        self._namespace.attach()

    def kill(self) -> None:
        """Kill all processes of the node."""
        kill_all(lambda: self.pids)
        self.process.wait()

    @property
    def _log(self) -> Path:
        return self.folder / "start.log"

    def _has_started(self) -> bool:
        text = self._log.read_text(errors="replace")
        assert self.process.poll() is None, f"ray start ended:\n{text}"
        return "Ray runtime started." in text

    def _workers(self) -> list[Process]:
        raylet = self.raylet.pid
        return [
            process
            for process in self._processes()
            if process.parent == raylet
            and process.command.startswith("ray::")
            and "Agent" not in process.command
        ]

    def _processes(self) -> list[Process]:
        return [process for process in processes() if process.session == self.process.pid]


class Cluster:
    """A head on this machine, and nodes that a test adds; the block's end removes all of them.

    `address` is what a driver joins, `dashboard` the URL for jobs or None, `token_path` the file
    with the cluster's token or None, and `environment` the variables that a client needs.
    """

    def __init__(
        self,
        *,
        num_cpus: int = 0,
        num_gpus: int = 0,
        dashboard: bool = False,
        token: bool = True,
        network: bool = False,
        health_checks: Mapping[str, str] = QUICK_HEALTH_CHECKS,
    ) -> None:
        self.nodes: list[Node] = []
        self._mark = secrets.token_hex(8)
        # The path is short, because Ray's sockets below it may have at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="td-", dir="/tmp"))
        self._network = Network() if network else None
        self._hosts = _hosts()
        host = self._network.gateway if self._network else next(self._hosts)
        port, self.dashboard = free_port(), None
        self.address = f"{host}:{port}"
        self.token_path = self.folder / "token" if token else None
        arguments = ["--head", f"--port={port}", f"--include-dashboard={dashboard}"]
        if dashboard:
            dashboard_port = free_port()
            self.dashboard = f"http://{host}:{dashboard_port}"
            arguments += [f"--dashboard-host={host}", f"--dashboard-port={dashboard_port}"]
        if find_spec("grpc"):
            arguments += [f"--ray-client-server-port={free_port()}"]
        self._head = [*arguments, *_sizes(num_cpus, num_gpus, {})]
        self._health_checks = dict(health_checks)
        self._host = host

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def environment(self) -> dict[str, str]:
        """Return a client's environment, without variables of Ray from the tests' own."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # The home has no token, because Ray would find one of another cluster in the user's home.
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        ours |= {"HOME": str(home), MARK: self._mark, "RAY_USAGE_STATS_ENABLED": "0"}
        if self.token_path is not None:
            ours |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}
        return ours

    def __enter__(self) -> Self:
        if self.token_path is not None:
            self.token_path.write_text(secrets.token_hex(32))
            self.token_path.chmod(0o600)
        try:
            if self._network:
                self._network.make()
            self._node(self._host, None, self._head, ()).start()
            if self.dashboard:
                wait_until(self._dashboard_answers, "the dashboard", _START_TIMEOUT_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            node.kill()
        kill_all(self._left)
        if self._network:
            self._network.remove()
        shutil.rmtree(self.folder)

    def add_node(
        self,
        *,
        num_cpus: int = 1,
        num_gpus: int = 0,
        resources: Mapping[str, float] | None = None,
        hidden: Sequence[Path] = (),
    ) -> Node:
        """Add a node; its processes see the `hidden` folders as empty (this needs root)."""
        namespace = self._network.namespace() if self._network else None
        address = namespace.address if namespace else next(self._hosts)
        arguments = [f"--address={self.address}", *_sizes(num_cpus, num_gpus, resources or {})]
        return self._node(address, namespace, arguments, hidden).start()

    def wait_until_dead(self, node_id: str, timeout_s: float = 60) -> None:
        """Wait until the head has given the node up."""
        command = [sys.executable, "-c", _UNTIL_DEAD, self.address, node_id]
        subprocess.run(
            command, env=self.environment, check=True, capture_output=True, timeout=timeout_s
        )

    def study(self, folder: Path, *arguments: str) -> StudyProcess:
        """Start the study command in `folder` on this machine, with the cluster's token."""
        # Its scratch is in its own folder too, which other nodes cannot see.
        scratch = folder / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = self.environment | {"TMPDIR": str(scratch)}
        # The command finds out by itself whether a token is required.
        environment.pop("RAY_AUTH_MODE", None)
        return StudyProcess(folder, "--address", self.address, *arguments, **environment)

    def _node(
        self,
        address: str,
        namespace: Namespace | None,
        arguments: Sequence[str],
        hidden: Sequence[Path],
    ) -> Node:
        """Return a node that is not started yet; the cluster ends it."""
        folder = self.folder / str(len(self.nodes))
        environment = self.environment | self._health_checks
        self.nodes.append(Node(folder, address, namespace, arguments, environment, hidden))
        return self.nodes[-1]

    def _dashboard_answers(self) -> bool:
        assert self.dashboard is not None
        host, _, port = self.dashboard.removeprefix("http://").partition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

    def _left(self) -> list[int]:
        """Return processes with the cluster's mark, or with its folder in their command line."""
        entry = f"{MARK}={self._mark}\0".encode()
        found = []
        for process in processes():
            with suppress(OSError):
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
                if entry in environment or f"{self.folder}/" in process.command:
                    found.append(process.pid)
        return found


def _hosts() -> Iterator[str]:
    """Yield loopback addresses of one subnet; Ray would replace 127.0.0.1 by the machine's own."""
    second, third = random.SystemRandom().randrange(1, 255), random.SystemRandom().randrange(255)
    return (f"127.{second}.{third}.{host}" for host in itertools.count(1))


def _sizes(num_cpus: int, num_gpus: int, resources: Mapping[str, float]) -> list[str]:
    return [
        f"--num-cpus={num_cpus}",
        f"--num-gpus={num_gpus}",
        f"--resources={json.dumps(dict(resources))}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
        # Let the kernel choose ports, because other clusters may use Ray's defaults.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
    ]


def _hiding(folders: Sequence[Path]) -> list[str]:
    """Return the prefix of a command that sees the folders as empty."""
    if not folders:
        return []
    mounts = "".join('mount -t tmpfs none "$1" && shift && ' for _ in folders)
    alone = ["unshare", "--mount", "--propagation", "private"]
    return [*alone, "sh", "-ec", f'{mounts}exec "$@"', "sh", *map(str, folders)]
