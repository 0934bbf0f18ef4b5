"""The smoothing study as whole processes: ours, the notebook's, and HF's Trainer in Ray Tune."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import Promise, in_turn, process_s, ratio, report
from benchmarks.workload import WORKLOADS, Workload, make_student

OURS, NOTEBOOK, TRAINER, GROUPED = "ours", "notebook", "trainer in Tune", "grouped by length"
MOST = {NOTEBOOK: 0.40, TRAINER: 0.55}
# The times at flan-t5-small's shape are measured by `step`.
PROMISED = ("tiny", "mid")


def main(given: argparse.Namespace) -> int:
    rows, promises, figures = [], [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in PROMISED:
            folder = Path(scratch) / name
            student = make_student(WORKLOADS[name].shape, given.data, folder / "student")
            print(name, file=sys.stderr, flush=True)
            seconds = in_turn(_ways(WORKLOADS[name], student, given.data, folder), given.rounds)
            figures[name] = seconds
            for way, times in seconds.items():
                share = ratio(seconds, OURS, way)
                rows.append((name, way, statistics.median(times), share))
                if name in PROMISED and way in MOST:
                    what = f"{name}: ours to {way}"
                    promises.append(Promise(what, share, MOST[way]))
    columns = ("student", "way", "seconds", "ours to it")
    return report("study", columns, rows, promises, {"seconds": figures}, given.json)


def _ways(workload: Workload, student: Path, data: str, folder: Path) -> dict[str, partial[float]]:
    peer = [
        f"--student={student}",
        f"--data={data}",
        f"--num-train={workload.num_train}",
        f"--num-validation={workload.num_validation}",
        f"--num-epochs={workload.num_epochs}",
    ]
    trainer = [sys.executable, "-m", "benchmarks.peers.trainer", *peer]
    return {
        OURS: partial(_ours_s, workload, student, data, folder),
        NOTEBOOK: partial(
            process_s, [sys.executable, "-m", "benchmarks.peers.notebook", *peer], folder
        ),
        TRAINER: partial(process_s, trainer, folder),
        GROUPED: partial(process_s, [*trainer, "--group-by-length"], folder),
    }


def _ours_s(workload: Workload, student: Path, data: str, folder: Path) -> float:
    """Return the seconds from an empty store to tables, verdict and report."""
    with tempfile.TemporaryDirectory(dir=folder) as results:
        command = [sys.executable, "-m", "tune_distill.study", "smoothing", "--profile=notebook"]
        command += [f"--student={student}", f"--data={data}", f"--results={results}"]
        return process_s([*command, *workload.fields()], folder)
