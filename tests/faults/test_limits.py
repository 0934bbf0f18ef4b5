"""Limits of retrying: trials that hang, that die again and again, or that cannot be stored."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import tune_distill
from tests.clusters import Cluster, needs_root
from tests.faults.studies import (
    ALL_COMPLETE,
    LONG,
    assert_little_trained_twice,
    assert_same_tables,
    ends,
    retries,
)
from tests.processes import wait_until
from tests.study_process import Event, StudyProcess

pytestmark = pytest.mark.proof


def test_the_plan_shows_resources_and_refuses_large_trials(cluster: Cluster, folder: Path) -> None:
    with cluster.study(folder, "smoothing", "--dry-run") as fits:
        assert fits.wait() == 0, fits.report()
    assert fits.events[0]["estimate"].startswith("3 at once, each with 1 CPU and 0 GPUs; about ")
    with cluster.study(folder, "smoothing", "--dry-run", "--gpus-per-trial", "1") as never:
        assert never.wait() == 2, never.report()
    nodes = "nodes with 0 CPUs and 0 GPUs; with 1 CPU and 0 GPUs"
    assert f"got 1 CPU and 1 GPU where the cluster has {nodes}" in never.errors
    assert not (folder / "results").exists()


def test_a_hanging_trial_is_retried_in_another_worker(
    cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    # An attempt takes about ten of these seconds; on a slow machine others may exceed them too.
    with cluster.study(folder, "smoothing", *LONG, "--trial-time-limit", "25") as study:
        event = study.wait_for(lambda event: event["event"] == "progressed")
        os.kill(event["pid"], signal.SIGSTOP)
        retried = study.wait_for(lambda later: _is_retry(later, event["trial_id"]))
        assert "--trial-time-limit 25 s" in retried["error"]
        assert study.wait() == 0, study.report()
    assert ends(study.events) == ALL_COMPLETE
    assert_little_trained_twice(study.events)
    assert_same_tables(folder / "results", undisturbed)
    wait_until(lambda: not Path(f"/proc/{event['pid']}").exists(), "the end of the hung worker")


def _is_retry(event: Event, trial_id: str) -> bool:
    return event["event"] == "retried" and event["trial_id"] == trial_id


def test_a_trial_whose_workers_all_die_fails_and_completes_when_run_again(
    cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    # Trials run one at a time, so that the first one gets all the dying workers.
    command = ["smoothing", *LONG, "--max-retries", "2", "--max-concurrent", "1"]
    with cluster.study(folder, *command) as study:
        victim = study.wait_for(lambda event: event["event"] == "started")["trial_id"]
        _kill_workers_until(study, cluster, "ended")
        assert study.wait() == 1, study.report()
    assert ends(study.events)[victim] == "failed"
    assert retries(study.events) == [victim] * 2
    frame = tune_distill.load("smoothing", results=folder / "results").set_index("trial_id")
    assert frame["state"].value_counts().to_dict() == {"complete": 2, "failed": 1}
    assert frame.loc[victim, "num_retries"] == 2
    assert "--max-retries" in frame.loc[victim, "error"]

    with cluster.study(folder, *command) as again:
        assert again.wait() == 0, again.report()
    assert ends(again.events) == {victim: "complete"}
    assert_same_tables(folder / "results", undisturbed)


def _kill_workers_until(study: StudyProcess, cluster: Cluster, kind: str) -> None:
    """Kill every worker that gets a trial before its first checkpoint, until the event comes."""

    def over() -> bool:
        for node in cluster.nodes[1:]:
            for pid in node.busy_workers():
                # Check before each kill, because the next trial's worker must survive.
                if any(event["event"] == kind for event in study.arrived()):
                    return True
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return any(event["event"] == kind for event in study.arrived())

    wait_until(over, f"the event {kind}")


@needs_root
def test_a_full_disk_fails_trials_and_space_completes_them(
    cluster: Cluster, folder: Path, undisturbed: Path
) -> None:
    store = folder / "store"
    command = ["smoothing", *LONG, "--store", str(store), "--max-concurrent", "1"]
    # The old and the new checkpoint of 6 MiB each fit only until the first student's 2 MiB are
    # stored too.
    with _disk(store, 13) as resize:
        with cluster.study(folder, *command, "--max-retries", "1") as study:
            assert study.wait() == 1, study.report()
        frame = tune_distill.load("smoothing", results=folder / "results")
        assert sorted(set(frame["state"])) == ["complete", "failed"]
        failed = frame[frame["state"] == "failed"]
        assert failed["error"].str.contains("No space left on device").all()

        resize(100)
        with cluster.study(folder, *command) as again:
            assert again.wait() == 0, again.report()
        assert set(ends(again.events)) == set(failed["trial_id"])
        assert_same_tables(folder / "results", undisturbed)


@contextmanager
def _disk(folder: Path, size_mib: int) -> Iterator[Callable[[int], None]]:
    """Mount a disk of this size at `folder`; yield a function that changes the size."""
    folder.mkdir()

    def mount(size_mib: int, *more: str) -> None:
        options = ",".join([f"size={size_mib}m", *more])
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)

    mount(size_mib)
    try:
        yield lambda size_mib: mount(size_mib, "remount")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
