"""A study is ended by hand, and a finished one is widened."""

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
from tests.processes import wait_until
from tests.test_study import SMALL
from tune_distill.records.trials import INTERRUPTED

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(
    number: signal.Signals, cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    command = ["smoothing", *LONG, "--max-concurrent", "2"]
    with cluster.study(folder, *command) as study:
        study.wait_for(lambda event: event["event"] == "ended")
        study.wait_for(lambda event: event["event"] == "progressed")
        study.signal(number)
        assert study.wait() == 1, study.report()
    assert "Traceback" not in study.errors
    frame = tune_distill.load("smoothing", results=folder / "results")
    assert set(frame["state"]) == {"complete", "failed"}
    assert set(frame[frame["state"] == "failed"]["error"]) == {INTERRUPTED}
    nodes = cluster.nodes[1:]
    wait_until(lambda: not any(node.busy_workers() for node in nodes), "workers to end", 30)

    with cluster.study(folder, *command) as again:
        assert again.wait() == 0, again.report()
    assert ends(again.events).keys() == set(frame[frame["state"] == "failed"]["trial_id"])
    assert_little_trained_twice(study.events + again.events)
    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")


def test_a_wider_study_trains_only_what_is_new(cluster: Cluster, folder: Path) -> None:
    narrow = {"label_smoothing=0.0,seed=0", "label_smoothing=0.1,seed=0"}
    assert _trained(cluster, folder, "[0.0, 0.1]") == narrow
    wide = {f"label_smoothing={value},seed={seed}" for value in (0.0, 0.1, 0.2) for seed in (0, 1)}
    assert _trained(cluster, folder, "[0.0, 0.1, 0.2]", "--seeds", "2") == wide - narrow
    frame = tune_distill.load("wider", results=folder / "results")
    assert set(frame["trial_id"]) == wide
    assert set(frame[frame["reused"]]["trial_id"]) == narrow


def _trained(cluster: Cluster, folder: Path, values: str, *more: str) -> set[str]:
    """The trials that a worker was given for a study of these values; all complete."""
    (folder / "wider.yaml").write_text(
        f"name: wider\nquestion: Does it help?\nvary: {{train.label_smoothing: {values}}}\n"
    )
    with cluster.study(folder, "./wider.yaml", *SMALL, *more) as study:
        assert study.wait() == 0, study.report()
    assert set(ends(study.events).values()) == {"complete"}
    return {event["trial_id"] for event in study.events if event["event"] == "started"}
