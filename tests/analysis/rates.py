"""How often verdicts are wrong, from planted studies: the tables of docs/statistics.md.

python -m tests.analysis.rates [STUDIES]
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from tests.analysis.planted import Plant, simulated, true_means
from tests.records.made import study_of
from tune_distill.analysis.verdict import Verdict, judge

SEEDS = (2, 3, 5, 10)
SETTINGS = (3, 6, 12, 20)
EXAMPLES = (200, 500, 2000, 9842)
NOISES = ("equal", "one setting", "baseline")
"""Which setting's seeds move it three times as far as those of the others."""

METRICS = ("label_accuracy", "rougeL", "eval_loss")
BASELINE = 1
"""The place of label smoothing 0.1, the profile's own."""


class Cell(NamedTuple):
    """Planted studies of one size, whose settings are alike but the last, `gain` better."""

    num_settings: int = 3
    num_seeds: int = 3
    num_examples: int = 500
    noise: str = "equal"
    metric: str = "label_accuracy"
    gain: float = 0.0
    seed_sd: float = 0.02

    def plant(self) -> Plant:
        count = self.num_settings
        noisy = {"equal": {}, "one setting": {0: 3.0}, "baseline": {BASELINE: 3.0}}[self.noise]
        last = [0.0] * (count - 1) + [self.gain]
        values = [0.0, *(round(0.1 + 0.02 * number, 2) for number in range(count - 1))]
        direction = "min" if self.metric == "eval_loss" else "max"
        return Plant(
            study=study_of(
                {"train.label_smoothing": values},
                metric={"name": self.metric, "mode": direction},
            ),
            accuracy=[0.7 + more for more in last],
            quality=[0.5 + more for more in last],
            loss=[1.0 - more for more in last],
            num_seeds=self.num_seeds,
            num_examples=self.num_examples,
            seed_sd=self.seed_sd,
            noisy=noisy,
        )


class Rates(NamedTuple):
    """Shares of studies that claim a false difference, or find the planted gain, and of intervals
    of differences from the baseline that contain the truth."""

    claimed: float
    held: float
    found: float


def verdicts(what: Plant, seeds: Sequence[int]) -> list[Verdict]:
    """Return the verdicts on the study drawn with each seed, computed on all CPUs."""
    num_parts = 4 * (os.cpu_count() or 1)
    parts = [seeds[start::num_parts] for start in range(num_parts)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return [each for part in pool.map(_verdicts, repeat(what), parts) for each in part]


def _verdicts(what: Plant, seeds: Sequence[int]) -> list[Verdict]:
    return [judge(results) for results in simulated(what, seeds)]


def rates(cell: Cell, studies: int) -> Rates:
    """Return the rates of so many studies."""
    what = cell.plant()
    rows = [_row(what, verdict) for verdict in verdicts(what, range(studies))]
    claimed, held, found = (float(np.mean(column)) for column in zip(*rows, strict=True))
    return Rates(claimed, held, found)


def _row(what: Plant, verdict: Verdict) -> tuple[bool, float, bool]:
    truth = true_means(what, verdict.metric)
    gaps = [float(truth[one.setting] - truth[one.reference]) for one in verdict.primary]
    pairs = list(zip(verdict.primary, gaps, strict=True))
    held = [one.estimate.low <= gap <= one.estimate.high for one, gap in pairs]
    claimed = any(one.detectable and abs(gap) < 1e-9 for one, gap in pairs)
    return claimed, float(np.mean(held)), any(one.better and abs(gap) > 1e-9 for one, gap in pairs)


def cells() -> Iterator[Cell]:
    """Yield every size of study and kind of noise in accuracy, and those of 500 in the others."""
    for sizes in itertools.product(SETTINGS, SEEDS, EXAMPLES, NOISES):
        yield Cell(*sizes)
    for count, seeds, noise in itertools.product(SETTINGS, SEEDS, NOISES):
        for metric in METRICS[1:]:
            yield Cell(count, seeds, 500, noise, metric)


def main(studies: int = 300) -> None:
    """Print a row a cell: false claims, intervals that hold, and ten points found."""
    print("| settings x seeds x examples | noise | metric | claimed | held | ten points found |")
    print("|---|---|---|---|---|---|")
    for cell in cells():
        alike = rates(cell, studies)
        better = rates(cell._replace(gain=0.1), max(1, studies // 3))
        size = f"{cell.num_settings} x {cell.num_seeds} x {cell.num_examples}"
        texts = [f"{value:.1%}" for value in (alike.claimed, alike.held, better.found)]
        print("|", " | ".join([size, cell.noise, cell.metric, *texts]), "|", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
