"""Ending a study with signals, and widening a finished study."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import tune_distill
from tests.clusters import Cluster
from tests.faults.studies import (
    LONG,
    assert_little_trained_twice,
    assert_same_tables,
    assert_store_is_clean,
    ends,
)
from tests.guest import INLINE
from tests.processes import wait_until
from tests.study_process import StudyProcess
from tune_distill.records.trials import INTERRUPTED

pytestmark = pytest.mark.proof


def test_signals_end_a_study_cleanly(cluster: Cluster, folder: Path, undisturbed: Path) -> None:
    command = ["smoothing", *LONG, "--max-concurrent", "2"]
    with cluster.study(folder, *command) as terminated:
        terminated.wait_for(lambda event: event["event"] == "progressed")
        terminated.signal(signal.SIGTERM)
        _assert_ended_cleanly(terminated, cluster)
    _assert_tables_hold(folder, ends(terminated.events))

    with cluster.study(folder, *command) as interrupted:
        interrupted.wait_for(lambda event: event["event"] == "ended")
        interrupted.wait_for(lambda event: event["event"] == "progressed")
        interrupted.signal(signal.SIGINT)
        _assert_ended_cleanly(interrupted, cluster)
    states = ends(interrupted.events)
    _assert_tables_hold(folder, states)
    assert set(states.values()) == {"complete", "failed"}

    with cluster.study(folder, *command) as again:
        assert again.wait() == 0, again.report()
    # A trial may have ended while the command was ending.
    assert ends(again.events).keys() <= {name for name in states if states[name] == "failed"}
    assert_little_trained_twice(terminated.events + interrupted.events + again.events)
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")


def _assert_ended_cleanly(study: StudyProcess, cluster: Cluster) -> None:
    assert study.wait() == 1, study.report()
    assert "Traceback" not in study.errors
    nodes = cluster.nodes[1:]
    wait_until(lambda: not any(node.busy_workers() for node in nodes), "workers to end", 30)


def _assert_tables_hold(folder: Path, states: dict[str, str]) -> None:
    """Check that complete trials have metrics, and that the others are marked as interrupted."""
    frame = tune_distill.load("smoothing", results=folder / "results").set_index("trial_id")
    assert frame["state"].to_dict() == states
    assert frame["label_accuracy"].notna().tolist() == (frame["state"] == "complete").tolist()
    assert set(frame["error"].dropna()) == {INTERRUPTED}


def test_a_widened_study_trains_only_new_trials(folder: Path) -> None:
    narrow = {"label_smoothing=0.0,seed=0", "label_smoothing=0.1,seed=0"}
    assert _trained(folder, "[0.0, 0.1]") == narrow
    wide = {f"label_smoothing={value},seed={seed}" for value in (0.0, 0.1, 0.2) for seed in (0, 1)}
    assert _trained(folder, "[0.0, 0.1, 0.2]", "--seeds", "2") == wide - narrow
    frame = tune_distill.load("wider", results=folder / "results")
    assert set(frame["trial_id"]) == wide
    assert set(frame[frame["reused"]]["trial_id"]) == narrow


def _trained(folder: Path, values: str, *more: str) -> set[str]:
    """Run a study of these values to its end; return the trials that were started."""
    (folder / "wider.yaml").write_text(
        f"name: wider\nquestion: Does it help?\nvary: {{train.label_smoothing: {values}}}\n"
    )
    with StudyProcess(folder, "./wider.yaml", *INLINE, *more) as study:
        assert study.wait() == 0, study.report()
    assert set(ends(study.events).values()) == {"complete"}
    return {event["trial_id"] for event in study.events if event["event"] == "started"}
