"""A node that is cut off for longer than Ray waits, and then comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import Cluster, needs_namespaces
from tests.faults.conftest import Moment
from tests.faults.studies import LONG, assert_same_tables, assert_store_is_clean
from tests.faults.test_kills import assert_one_retried
from tests.processes import wait_until

pytestmark = [pytest.mark.proof, needs_namespaces]


@pytest.fixture
def network(hidden: list[Path]) -> Iterator[Cluster]:
    """Start a cluster of two nodes, each in its own network namespace."""
    with Cluster(network=True) as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=1, hidden=hidden)
        yield cluster


def test_a_node_is_cut_off_and_comes_back(
    network: Cluster, moment: Moment, folder: Path, undisturbed: Path
) -> None:
    with network.study(folder, "smoothing", *LONG) as study:
        event = moment.wait(study)
        (node,) = [node for node in network.nodes[1:] if node.node_id == event["node"]]
        node.cut_off()
        network.wait_until_dead(event["node"])
        node.bring_back()
        # A raylet ends when it learns that it was given up; a supervisor would restart it.
        wait_until(lambda: node.process.poll() is not None, "the node to learn of its death", 60)
        node.restart()
        assert study.wait() == 0, study.report()
    assert_one_retried(study.events, event["trial_id"], folder / "results")
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")
