"""A cluster of three nodes that cannot see the driver's files, and random moments for kills.

`TUNE_DISTILL_KILLS` is the number of moments at which each kill is tried, by default 1. A moment
follows from a random seed, which a failing test prints; `TUNE_DISTILL_KILL_SEED` sets it.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.faults.studies import LONG, NUM_REPORTS
from tests.processes import wait_until
from tests.study_process import Event, StudyProcess

NUM_KILLS = int(os.environ.get("TUNE_DISTILL_KILLS", "1"))


@dataclass(frozen=True)
class Moment:
    """A moment in the middle of a study's training: some time after a report."""

    num_reports: int
    delay_s: float

    def wait(self, study: StudyProcess) -> Event:
        """Wait for the moment; return the last report of a trial that will go on for a while."""
        for _ in range(self.num_reports - 1):
            study.wait_for(lambda event: event["event"] == "progressed")
        event = study.wait_for(_is_early)
        # This waits for no condition: the moment lies somewhere between two checkpoints.
        time.sleep(self.delay_s)
        return event


def _is_early(event: Event) -> bool:
    early: bool = event["event"] == "progressed" and event["step"] < 0.8 * event["num_steps"]
    return early


@pytest.fixture(params=range(NUM_KILLS))
def moment(request: pytest.FixtureRequest) -> Moment:
    """Return a random moment, a different one for each of the `TUNE_DISTILL_KILLS`."""
    seed = int(os.environ.get("TUNE_DISTILL_KILL_SEED", secrets.randbits(32)))
    print(f"TUNE_DISTILL_KILL_SEED={seed} makes this moment again")
    chosen = random.Random(seed + request.param)
    return Moment(chosen.randint(1, int(0.7 * 3 * NUM_REPORTS)), chosen.uniform(0, 0.6))


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the parent of all drivers' folders. Without root, nodes can see it too."""
    return tmp_path_factory.mktemp("drivers")


@pytest.fixture
def folder(drivers: Path) -> Path:
    """Return a driver's folder, which only the head's node can see."""
    path = drivers / secrets.token_hex(4)
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def hidden(drivers: Path) -> list[Path]:
    """Return the folders to hide from nodes."""
    return [drivers] if os.geteuid() == 0 else []


@pytest.fixture(scope="package")
def three_nodes(hidden: list[Path]) -> Iterator[Cluster]:
    with Cluster() as cluster:
        for _ in range(3):
            cluster.add_node(num_cpus=1, hidden=hidden)
        yield cluster


@pytest.fixture
def cluster(three_nodes: Cluster) -> Cluster:
    """Return a cluster of a head without CPUs and three idle nodes with one CPU each."""
    for node in three_nodes.nodes[1:]:
        if node.process.poll() is not None:
            node.restart()
    nodes = three_nodes.nodes[1:]
    wait_until(lambda: not any(node.busy_workers() for node in nodes), "idle nodes")
    return three_nodes


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the same studies, run undisturbed in one process without Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with StudyProcess(folder, "smoothing", "temperature", *LONG, "--executor", "inline") as study:
        assert study.wait() == 0, study.report()
    return folder / "results"
