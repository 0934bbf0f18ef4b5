"""The cost of hashing and checking stored files, at flan-t5-small's shape.

A trial with the notebook's settings trains, saves its checkpoints and its student, and decodes, as
in a worker. Then the driver, here the same process, checks the run and its answers, as after a
training and when the same command runs again. Every hash is timed in CPU seconds, which other work
on the machine changes little. A trial has one thread, as in a study with one CPU a trial.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Promise, report
from benchmarks.workload import FLAN_T5_SMALL, make_student
from tune_distill.records import digests
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.plan import ResolvedStudy, Trial, planned_trials
from tune_distill.spec.settings import study_profile
from tune_distill.spec.yaml_files import load_profile, load_study
from tune_distill.students.process import configure_torch
from tune_distill.training import checkpoints
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

MOST_SHARE = 0.02


class Clock:
    """CPU seconds spent in the wrapped calls, and their number."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            started = time.process_time()
            try:
                return call(*arguments)
            finally:
                self.seconds += time.process_time() - started
                self.calls += 1

        return timed


def main(given: argparse.Namespace) -> int:
    """Return the exit code, which is 0 if all promises hold."""
    configure_torch(1)
    with tempfile.TemporaryDirectory() as scratch:
        student = make_student(FLAN_T5_SMALL, given.data, Path(scratch) / "student")
        inputs, trial = _trial(str(student), given.data, Path(scratch))
        rounds = [_round(trial, inputs, Path(scratch) / f"{n}") for n in range(given.rounds)]

    def median(figure: str) -> float:
        return statistics.median(each[figure] for each in rounds)

    rows = [(name, median(name)) for name in rounds[0]]
    share = statistics.median(
        (each["checkpoints, s"] + each["files, s"] + each["driver, s"]) / each["trial, s"]
        for each in rounds
    )
    promises = [Promise("hashing to a trial's time", share, MOST_SHARE)]
    print(f"on {processor()}")
    figures = {"rounds": rounds, "processor": processor()}
    return report("verify", ("what", "median"), rows, promises, figures, given.json)


def processor() -> str:
    """Return the processor's name, and whether it has instructions for SHA-256."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in told.items()}
    has = "with" if "sha_ni" in fields.get("flags", "").split() else "without"
    return f"{fields.get('model name', 'an unknown processor')} {has} SHA instructions"


def _trial(student: str, data: str, folder: Path) -> tuple[Inputs, Trial]:
    study, inputs = load_study("smoothing"), Inputs()
    chosen = {"student.source": student, "data.source": data}
    profile = study_profile(study, "notebook", load_profile("notebook"), chosen)
    trial = planned_trials(ResolvedStudy(study, "notebook", profile, (0,)), inputs)[1]
    inputs.prepare([trial.profile], Store(Folder(folder / "prepared")))
    return inputs, trial


def _round(trial: Trial, inputs: Inputs, folder: Path) -> dict[str, float]:
    store = Store(Folder(folder))
    with _timed() as (of_checkpoints, of_files):
        started = time.process_time()
        for progress in run_trial(trial, inputs, store):
            print(f"  step {progress.step}", file=sys.stderr, flush=True)
        trial_s = time.process_time() - started
    told = {
        "trial, s": trial_s,
        "checkpoints": float(of_checkpoints.calls),
        "checkpoints, s": of_checkpoints.seconds,
        "files, s": of_files.seconds,
    }
    # A real driver is a process of its own, which has hashed nothing yet.
    digests._hashed.clear()
    started = time.process_time()
    assert store.has_run(trial.run_key)
    assert store.has_evaluation(trial.evaluation_key)
    return told | {"driver, s": time.process_time() - started}


@contextmanager
def _timed() -> Iterator[tuple[Clock, Clock]]:
    of_checkpoints, of_files = Clock(), Clock()
    with (
        patch.object(checkpoints, "_digest", of_checkpoints.timing(checkpoints._digest)),
        patch.object(digests, "_measured", of_files.timing(digests._measured)),
    ):
        yield of_checkpoints, of_files
