"""Several commands at once, on one cluster and one store."""

from __future__ import annotations

from pathlib import Path

import pytest

import tune_distill
from tests.clusters import Cluster
from tests.faults.studies import LONG, assert_same_tables, assert_store_is_clean
from tests.study_process import Event, StudyProcess

pytestmark = pytest.mark.proof


def test_two_commands_share_a_run(cluster: Cluster, folder: Path, undisturbed: Path) -> None:
    # Temperature decodes the student that smoothing trains at 0.1, so both need this run at once.
    with (
        cluster.study(folder, "smoothing", *LONG) as smoothing,
        cluster.study(folder, "temperature", *LONG) as temperature,
    ):
        assert smoothing.wait() == 0, smoothing.report()
        assert temperature.wait() == 0, temperature.report()
    for study in ("smoothing", "temperature"):
        assert_same_tables(folder / "results", undisturbed, study)
    assert_store_is_clean(folder / "results")


def test_two_commands_share_one_study(cluster: Cluster, folder: Path, undisturbed: Path) -> None:
    store = folder / "results" / ".store"
    command = ["smoothing", *LONG, "--store", str(store), "--max-concurrent", "1"]
    with cluster.study(folder, *command) as first:
        # The second command starts when the first has finished a run and trains the next one.
        first.wait_for(lambda event: event["event"] == "ended")
        first.wait_for(lambda event: event["event"] == "progressed")
        with cluster.study(folder, *command, "--results", "second") as second:
            assert first.wait() == 0, first.report()
            assert second.wait() == 0, second.report()
    trained = [_trained(results) for results in (folder / "results", folder / "second")]
    assert len(trained[0] | trained[1]) == 3
    for trial_id in trained[0] & trained[1]:
        assert _overlap(first, second, trial_id), f"{trial_id} was complete, and trained again"
    for results in (folder / "results", folder / "second"):
        assert_same_tables(results, undisturbed)
    assert_store_is_clean(folder / "results")


def _trained(results: Path) -> set[str]:
    """Return the trials that the command with these results trained itself."""
    frame = tune_distill.load("smoothing", results=results)
    return set(frame[~frame["reused"]]["trial_id"])


def _overlap(first: StudyProcess, second: StudyProcess, trial_id: str) -> bool:
    """Return whether both commands ran the trial at the same time."""
    (begin, end), (other_begin, other_end) = (
        (_time(study.events, "started", trial_id), _time(study.events, "ended", trial_id))
        for study in (first, second)
    )
    return begin < other_end and other_begin < end


def _time(events: list[Event], kind: str, trial_id: str) -> float:
    (time,) = [
        event["arrived_s"]
        for event in events
        if event["event"] == kind and event["trial_id"] == trial_id
    ]
    assert isinstance(time, float)
    return time
