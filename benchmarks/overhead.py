"""Times a study's work besides its training, for us and for bare Ray Tune.

Three times are measured: a trial that only stores a run and an evaluation, beyond the first on each
worker slot; from the start of a command to the end of its first training step; and a command whose
trials are all in the store.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import Promise, in_turn, process_s, ratio, report
from benchmarks.runner import MOST_TRIAL_S, in_own_process
from benchmarks.workload import WORKLOADS, make_student

NUM_TRIALS = 100


def main(given: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        student = make_student(WORKLOADS["tiny"].shape, given.data, folder / "student")
        arguments = [f"--student={student}", f"--data={given.data}", f"--results={folder / 'made'}"]
        study = [sys.executable, "-m", "tune_distill.study", "smoothing", "--profile=notebook"]
        study += [*arguments, *WORKLOADS["tiny"].fields()]
        peer = [f"--student={student}", f"--data={given.data}", "--num-train=500"]
        peer += ["--num-validation=100", "--num-epochs=3"]
        process_s(study, folder)
        trial_s = in_turn(
            {"ours": _our_trial_s, "bare Tune": partial(_bare_trial_s, NUM_TRIALS)}, given.rounds
        )
        step_s = in_turn(
            {
                "ours": partial(_our_first_step_s, study, folder),
                "bare Tune": partial(_bare_first_step_s, peer, folder),
            },
            given.rounds,
        )
        reused_s = in_turn({"ours": partial(process_s, study, folder)}, given.rounds)
    rows = [
        ("a trial that does nothing", *_both(trial_s)),
        ("to the end of the first training step", *_both(step_s)),
        ("a study that is all in the store", statistics.median(reused_s["ours"]), "-", "-"),
    ]
    promises = [
        Promise(
            "a trial that does nothing, seconds", statistics.median(trial_s["ours"]), MOST_TRIAL_S
        )
    ]
    figures = {"trial_s": trial_s, "first_step_s": step_s, "reused_s": reused_s}
    columns = ("what", "ours, s", "bare Tune, s", "ours to it")
    return report("overhead", columns, rows, promises, {"rounds": figures}, given.json)


def _both(seconds: dict[str, list[float]]) -> tuple[float, float, float]:
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return medians["ours"], medians["bare Tune"], ratio(seconds, "ours", "bare Tune")


def _our_trial_s() -> float:
    return in_own_process(NUM_TRIALS)["beyond_s"]


def _bare_trial_s(count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.peers.bare", "nothing", str(count)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    ended_s = _told(done.stdout)
    slots = os.cpu_count() or 1
    return (ended_s[-1] - ended_s[slots - 1]) / (len(ended_s) - slots)


def _our_first_step_s(study: list[str], folder: Path) -> float:
    """Return the seconds until the driver hears of the first step.

    The step is evaluated and stored, so that the driver hears of it.
    """
    with tempfile.TemporaryDirectory(dir=folder) as results:
        command = [*study, f"--results={results}", "--set=train.eval_steps=1", "--json"]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line).get("event") == "progressed":
                    elapsed_s = time.perf_counter() - started
                    process.terminate()
        return elapsed_s


def _bare_first_step_s(peer: list[str], folder: Path) -> float:
    """Return the seconds until the driver hears that the trial of one step has ended."""
    command = [sys.executable, "-m", "benchmarks.peers.bare", "first-step", *peer]
    log = folder / "bare.log"
    started = time.perf_counter()
    with log.open("w") as stream:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=stream, text=True)
    # Both processes' clocks count from the machine's start.
    return _told(done.stdout)[0] - started


def _told(output: str) -> list[float]:
    """Return what the peer measured, without the output of Tune and the Trainer around it."""
    [line] = [line for line in output.splitlines() if line.startswith("[")]
    times: list[float] = json.loads(line)
    return times
