"""The clusters that other tests use: their guarantees, and that they leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters import Cluster, needs_namespaces, needs_root
from tests.processes import processes, wait_until
from tests.study_process import StudyProcess

pytestmark = pytest.mark.proof

_NUM_CPUS = "import ray, sys; ray.init(sys.argv[1]); print(ray.cluster_resources().get('CPU', 0))"


def joined(cluster: Cluster, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that joins the cluster and prints its CPUs."""
    return subprocess.run(
        [sys.executable, "-c", _NUM_CPUS, cluster.address],
        env=cluster.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_nodes_have_folders_addresses_and_processes_of_their_own(tmp_path: Path) -> None:
    with Cluster() as cluster:
        nodes = [cluster.head, cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=2)]
        assert float(joined(cluster).stdout) == 3
        assert len({node.address for node in nodes}) == 3
        assert len({node.node_id for node in nodes}) == 3
        cwds = {Path(f"/proc/{node.process.pid}/cwd").resolve() for node in nodes}
        assert len(cwds) == 3
        pids = [set(node.pids) for node in nodes]
        assert not pids[0] & pids[1] | pids[0] & pids[2] | pids[1] & pids[2]
        lost = nodes[1].node_id
        nodes[1].kill_raylet()
        cluster.wait_until_dead(lost)
        assert float(joined(cluster).stdout) == 2
        folder = cluster.folder
    assert not folder.exists()
    left = {process.pid for process in processes()}
    assert not any(left & of_node for of_node in pids)


def test_a_token_is_required() -> None:
    with Cluster(num_cpus=1) as cluster:
        wrong = cluster.folder / "wrong"
        wrong.write_text("0" * 64)
        refused = joined(cluster, RAY_AUTH_TOKEN_PATH=str(wrong))
        assert refused.returncode != 0
        assert "token" in refused.stderr
        assert joined(cluster).returncode == 0


def test_a_cluster_without_tokens_requires_none() -> None:
    with Cluster(num_cpus=1, token=False) as cluster:
        assert "RAY_AUTH_MODE" not in cluster.environment
        assert float(joined(cluster).stdout) == 1


@needs_root
def test_a_hidden_folder_is_empty_to_the_node_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Cluster() as cluster:
        seeing, blind = cluster.add_node(), cluster.add_node(hidden=[tmp_path])
        inside = [Path(f"/proc/{node.raylet.pid}/root{tmp_path}") for node in (seeing, blind)]
        assert [sorted(path.name for path in folder.iterdir()) for folder in inside] == [
            ["file"],
            [],
        ]


@needs_namespaces
def test_a_node_that_is_cut_off_is_given_up_and_its_network_is_removed() -> None:
    with Cluster(network=True) as cluster:
        gateway = cluster.address.rpartition(":")[0]
        (bridge,) = [line.split()[0] for line in _ip("address") if f" {gateway}/" in line]
        node = cluster.add_node()
        assert any(line.startswith(f"{bridge}p") for line in _ip("link"))
        node_id = node.node_id
        node.cut_off()
        cluster.wait_until_dead(node_id)
        # The node does not know that it was given up, because no message reaches it.
        assert node.process.poll() is None
        node.bring_back()
        wait_until(lambda: node.process.poll() is not None, "the node to learn of its death", 60)
        node.restart()
        assert float(joined(cluster).stdout) == 1
    assert not any(line.startswith(bridge) for line in _ip("link"))


def _ip(what: str) -> list[str]:
    return subprocess.check_output(["ip", "-brief", what], text=True).splitlines()


def test_a_study_command_is_watched_and_killed(tmp_path: Path) -> None:
    with StudyProcess(tmp_path, "smoothing", "--dry-run") as study:
        plan = study.wait_for(lambda event: event["event"] == "plan")
        assert plan["trainings"] == 3
        assert study.wait() == 0
        assert study.events[0] == plan
    with StudyProcess(tmp_path, "smoothin") as study:
        with pytest.raises(AssertionError, match="no such study"):
            study.wait_for(lambda event: True)
        assert study.wait() == 2
