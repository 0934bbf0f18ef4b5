"""Nodes that share no folder with the driver or with each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clusters import Cluster, needs_root
from tests.faults.studies import (
    LONG,
    assert_same_tables,
    assert_store_is_clean,
    finished_runs,
    retries,
)

pytestmark = pytest.mark.proof


@needs_root
def test_all_nodes_run_trials_and_nothing_outlives_the_driver(
    cluster: Cluster, drivers: Path, folder: Path, undisturbed: Path
) -> None:
    store = folder / "results" / ".store"
    with cluster.study(folder, "smoothing", *LONG) as study:
        run_keys: dict[str, str] = {}
        while True:
            event = study.wait_for(lambda event: event["event"] != "begin")
            if event["event"] == "started":
                run_keys[event["trial_id"]] = event["run_key"]
            if event["event"] == "progressed":
                run = store / "runs" / run_keys[event["trial_id"]]
                # A reported checkpoint has already been stored with the driver.
                stored = {path.name for path in run.iterdir()}
                assert stored & {"checkpoint.safetensors", "run.json"}
            if event["event"] == "end":
                break
        assert study.wait() == 0, study.report()
        events = study.events

    assert_same_tables(folder / "results", undisturbed)
    assert_store_is_clean(folder / "results")
    assert finished_runs(folder / "results").keys() == set(run_keys.values())
    assert retries(events) == []
    reports = [event for event in events if event["event"] == "progressed"]
    assert {event["node"] for event in reports} == {node.node_id for node in cluster.nodes[1:]}
    for node in cluster.nodes[1:]:
        # No file of the study remains on the nodes.
        seen = Path(f"/proc/{node.raylet.pid}/root{drivers}")
        assert not any(seen.iterdir())
        assert not list(node.folder.rglob("*.safetensors"))
