"""The studies that are disturbed, and what must hold of them in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

import tune_distill
from tests.study_process import Event

NUM_STEPS, INTERVAL = 189, 15
NUM_REPORTS = NUM_STEPS // INTERVAL + 1

# Some six seconds of training a trial, three at once on two cores; a checkpoint twice a second.
LONG = [
    f"--set={field}"
    for field in (
        "data.num_train=500",
        "data.num_validation=60",
        "train.num_epochs=3",
        f"train.eval_steps={INTERVAL}",
        "decode.max_new_tokens=16",
    )
]

ALL_COMPLETE = {f"label_smoothing={value},seed=0": "complete" for value in (0.0, 0.1, 0.2)}

# What a table says of how it was made, and not of what came out.
_TIMES = {"training_time_s", "decode_time_s", "examples_per_s", "elapsed_s"}
_WAYS = {"reused", "num_retries"}


def assert_same_tables(results: Path, undisturbed: Path, study: str = "smoothing") -> None:
    """Every metric, history and answer equals the undisturbed study's, to the last bit."""
    for table in ("trials", "history", "predictions", "examples"):
        ours, theirs = (
            tune_distill.load(study, results=folder, table=table).drop(
                columns=list(_TIMES | _WAYS), errors="ignore"
            )
            for folder in (results, undisturbed)
        )
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def attempts(events: Iterable[Event], trial_id: str) -> list[list[Event]]:
    """The reports of each attempt at a trial; an attempt may have none."""
    found: list[list[Event]] = []
    for event in events:
        if event.get("trial_id") == trial_id:
            if event["event"] in ("started", "retried"):
                found.append([])
            elif event["event"] == "progressed":
                found[-1].append(event)
    return found


def assert_little_trained_twice(events: Sequence[Event]) -> None:
    """Each attempt goes on from the last checkpoint reported, or a later one: what the attempt
    before had trained beyond it is less than an interval."""
    for trial_id in {event["trial_id"] for event in events if event["event"] == "started"}:
        reached = 0
        for reports in attempts(events, trial_id):
            if reports:
                assert _first_step(reports[0]) >= reached, (trial_id, reached, reports[0])
            steps = [report["step"] for report in reports]
            assert steps == sorted(set(steps)), (trial_id, steps)
            reached = max([reached, *steps])


def _first_step(report: Event) -> int:
    """Where an attempt began to train: at the end, if its run was complete."""
    trained: bool = report["step"] < report["num_steps"]
    step: int = report["resumed_step"] if trained else report["step"]
    return step


def retries(events: Iterable[Event]) -> list[str]:
    """The trials that were tried again, once for each time."""
    return [event["trial_id"] for event in events if event["event"] == "retried"]


def ends(events: Iterable[Event]) -> dict[str, str]:
    """The state in which each trial ended; none ends twice."""
    ended = [event for event in events if event["event"] == "ended"]
    states = {event["trial_id"]: event["state"] for event in ended}
    assert len(states) == len(ended), "a trial ended twice"
    return states


def finished_runs(results: Path) -> dict[str, int]:
    """When each finished run in the results' store was finished, by key."""
    records = (results / ".store" / "runs").glob("*/run.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in records}


def assert_store_is_clean(results: Path) -> None:
    """Every run is whole, and nothing lies about that an interrupted writer left."""
    store = results / ".store"
    runs = list((store / "runs").iterdir())
    assert runs
    for run in runs:
        names = sorted(path.name.partition("-")[0] for path in run.iterdir())
        assert names == ["identity.json", "run.json", "student"], (run, names)
    assert not list(store.rglob("*.tmp"))
