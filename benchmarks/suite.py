"""All six studies: ours, and in Ray Tune with a student trained by every trial.

Both train with the same code, by the notebook's settings, a student of 0.7 million parameters. They
differ in the plan: ours shares runs between settings and workers between studies, and starts
workers while inputs are prepared. Ours begins with an empty store and ends with tables, verdicts
and reports; then the same command runs again.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Promise, in_turn, process_s, ratio, report
from benchmarks.workload import TINY, make_student
from tune_distill.spec.yaml_files import shipped_studies

OURS, NAIVE, REUSED = "ours", "every trial trains", "ours, all in the store"
MOST = 0.6
MOST_REUSED_S = 10.0


class Commands:
    """Both ways as whole processes, and the number of trainings that each reports."""

    def __init__(self, student: Path, data: str, folder: Path) -> None:
        self._folder = folder
        self._given = ["--profile=notebook", f"--student={student}", f"--data={data}"]
        self.trainings: dict[str, int] = {}

    def ours_s(self) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder) as results:
            return self._study_s(OURS, results)

    def naive_s(self) -> float:
        peer = [sys.executable, "-m", "benchmarks.peers.naive", *shipped_studies()]
        return self._process_s(NAIVE, [*peer, *self._given])

    def reused_s(self) -> float:
        return self._study_s(REUSED, str(self._folder / "made"))

    def _study_s(self, name: str, results: str) -> float:
        command = [sys.executable, "-m", "tune_distill.study", "all", f"--results={results}"]
        return self._process_s(name, [*command, *self._given])

    def _process_s(self, name: str, command: list[str]) -> float:
        seconds = process_s(command, self._folder)
        output = (self._folder / "peer.log").read_text()
        self.trainings[name] = int(re.findall(r"(\d+) trainings", output)[-1])
        return seconds


def main(given: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        commands = Commands(make_student(TINY, given.data, folder / "student"), given.data, folder)
        seconds = in_turn({OURS: commands.ours_s, NAIVE: commands.naive_s}, given.rounds)
        # The first run fills the store for the others.
        commands.reused_s()
        seconds |= in_turn({REUSED: commands.reused_s}, given.rounds)
    rows = [
        (name, commands.trainings[name], statistics.median(times), ratio(seconds, OURS, name))
        for name, times in seconds.items()
    ]
    promises = [
        Promise("ours to the naive plan", ratio(seconds, OURS, NAIVE), MOST),
        Promise("all in the store, seconds", statistics.median(seconds[REUSED]), MOST_REUSED_S),
    ]
    columns = ("way", "trainings", "seconds", "ours to it")
    return report("suite", columns, rows, promises, {"seconds": seconds}, given.json)
