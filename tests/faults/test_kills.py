"""SIGKILL at random moments in the middle of training loses nothing and changes no number."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import tune_distill
from tests.clusters import Cluster
from tests.faults.conftest import Moment
from tests.faults.studies import (
    ALL_COMPLETE,
    LONG,
    assert_little_trained_twice,
    assert_same_tables,
    assert_store_is_clean,
    attempts,
    ends,
    finished_runs,
    retries,
)
from tests.study_process import Event, StudyProcess

pytestmark = pytest.mark.proof


def assert_one_retried(events: list[Event], trial_id: str, results: Path) -> None:
    """Check that this trial was retried once, and the others never, also in the table."""
    assert ends(events) == ALL_COMPLETE
    assert retries(events) == [trial_id]
    assert_little_trained_twice(events)
    counts = tune_distill.load("smoothing", results=results).set_index("trial_id")["num_retries"]
    assert counts.to_dict() == {name: int(name == trial_id) for name in ALL_COMPLETE}


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_killed_worker(
    where: str, moment: Moment, request: pytest.FixtureRequest, folder: Path, undisturbed: Path
) -> None:
    with _study(where, request, folder) as study:
        event = moment.wait(study)
        os.kill(event["pid"], signal.SIGKILL)
        assert study.wait() == 0, study.report()
    assert_one_retried(study.events, event["trial_id"], folder / "results")
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")


def _study(where: str, request: pytest.FixtureRequest, folder: Path) -> StudyProcess:
    if where == "here":
        return StudyProcess(folder, "smoothing", *LONG)
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.study(folder, "smoothing", *LONG)


def test_a_killed_raylet(cluster: Cluster, moment: Moment, folder: Path, undisturbed: Path) -> None:
    with cluster.study(folder, "smoothing", *LONG) as study:
        event = moment.wait(study)
        (node,) = [node for node in cluster.nodes[1:] if node.node_id == event["node"]]
        assert event["pid"] in node.workers()
        node.kill_raylet()
        assert study.wait() == 0, study.report()
    first, second = attempts(study.events, event["trial_id"])
    assert {report["node"] for report in first} == {event["node"]}
    assert event["node"] not in {report["node"] for report in second}
    assert_one_retried(study.events, event["trial_id"], folder / "results")
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")


def test_a_killed_driver(cluster: Cluster, moment: Moment, folder: Path, undisturbed: Path) -> None:
    command = ["smoothing", *LONG, "--max-concurrent", "2"]
    with cluster.study(folder, *command) as study:
        moment.wait(study)
        study.signal(signal.SIGKILL)
        study.wait()
        finished = finished_runs(folder / "results")
        # Start again at once, while the dead driver's workers may still run.
        with cluster.study(folder, *command) as again:
            assert again.wait() == 0, again.report()
    # A trial whose run was finished but not decoded starts again without training.
    assert not ends(study.events).keys() & ends(again.events).keys()
    assert finished.items() <= finished_runs(folder / "results").items()
    assert_little_trained_twice(study.events + again.events)
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")
