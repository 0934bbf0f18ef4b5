"""The studies that tests disturb, and assertions about their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

import tune_distill
from tests.study_process import Event

NUM_STEPS, INTERVAL = 189, 15
NUM_REPORTS = NUM_STEPS // INTERVAL + 1

# About six seconds of training per trial with three at once on two cores, and two checkpoints per
# second.
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

# Columns about how a table was made, not about results.
_TIMES = {"training_time_s", "decode_time_s", "examples_per_s", "elapsed_s"}
_WAYS = {"reused", "num_retries"}


def assert_same_tables(results: Path, undisturbed: Path, study: str = "smoothing") -> None:
    """Check that metrics, histories and answers equal the undisturbed study's to the last bit."""
    for table in ("trials", "history", "predictions", "examples"):
        ours, theirs = (
            tune_distill.load(study, results=folder, table=table).drop(
                columns=list(_TIMES | _WAYS), errors="ignore"
            )
            for folder in (results, undisturbed)
        )
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def attempts(events: Iterable[Event], trial_id: str) -> list[list[Event]]:
    """Return the reports of each attempt at a trial; an attempt may have none."""
    found: list[list[Event]] = []
    for event in events:
        if event.get("trial_id") == trial_id:
            if event["event"] in ("started", "retried"):
                found.append([])
            elif event["event"] == "progressed":
                found[-1].append(event)
    return found


def assert_little_trained_twice(events: Sequence[Event]) -> None:
    """Check that each attempt resumes from the last reported checkpoint or a later one.

    So the former attempt trained less than one interval in vain.
    """
    for trial_id in {event["trial_id"] for event in events if event["event"] == "started"}:
        reached = 0
        for reports in attempts(events, trial_id):
            if reports:
                assert _first_step(reports[0]) >= reached, (trial_id, reached, reports[0])
            steps = [report["step"] for report in reports]
            assert steps == sorted(set(steps)), (trial_id, steps)
            reached = max([reached, *steps])


def _first_step(report: Event) -> int:
    """Return the step at which an attempt began to train: the last one if its run was complete."""
    trained: bool = report["step"] < report["num_steps"]
    step: int = report["resumed_step"] if trained else report["step"]
    return step


def retries(events: Iterable[Event]) -> list[str]:
    """Return the ids of retried trials, once for each retry."""
    return [event["trial_id"] for event in events if event["event"] == "retried"]


def ends(events: Iterable[Event]) -> dict[str, str]:
    """Return the state in which each trial ended, after checking that none ended twice."""
    ended = [event for event in events if event["event"] == "ended"]
    states = {event["trial_id"]: event["state"] for event in ended}
    assert len(states) == len(ended), "a trial ended twice"
    return states


def finished_runs(results: Path) -> dict[str, int]:
    """Return the time at which each run in the results' store was finished, by key."""
    records = (results / ".store" / "runs").glob("*/run.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in records}


def assert_store_is_clean(results: Path) -> None:
    """Check that every run is complete, and that no interrupted writer left files."""
    store = results / ".store"
    runs = list((store / "runs").iterdir())
    assert runs
    for run in runs:
        names = sorted(path.name.partition("-")[0] for path in run.iterdir())
        assert names == ["identity.json", "run.json", "student"], (run, names)
    assert not list(store.rglob("*.tmp"))
