"""How often verdicts are wrong, from planted studies: the table of docs/statistics.md.

python -m tests.analysis.rates [STUDIES]
"""

from __future__ import annotations

import sys

import numpy as np

from tests.analysis.planted import Plant, simulated
from tune_distill.analysis.verdict import judge

SIZES = ((3, 1), (3, 2), (3, 3), (3, 5), (6, 1), (6, 3), (6, 5))
SEED_SDS = (0.0, 0.01, 0.02, 0.03)


def rates(num_settings: int, num_seeds: int, seed_sd: float, studies: int) -> tuple[float, float]:
    """Return the shares of false claims and of intervals that contain the true difference, zero."""
    values = [round(0.05 * number, 2) for number in range(num_settings)]
    what = Plant(
        accuracy=(0.7,) * num_settings,
        points=[{"train.label_smoothing": value} for value in values],
        num_seeds=num_seeds,
        num_examples=500,
        seed_sd=seed_sd,
    )
    found = [judge(results) for results in simulated(what, range(studies))]
    claimed = [verdict.outcome in ("better", "worse") for verdict in found]
    held = [
        one.estimate.low <= 0 <= one.estimate.high for verdict in found for one in verdict.primary
    ]
    return float(np.mean(claimed)), float(np.mean(held))


def main(studies: int = 500) -> None:
    """Print the table row by row."""
    print("| settings x seeds |", *(f"{sd * 100:.0f} points |" for sd in SEED_SDS))
    print("|---" * (1 + len(SEED_SDS)) + "|")
    for num_settings, num_seeds in SIZES:
        cells = [rates(num_settings, num_seeds, sd, studies) for sd in SEED_SDS]
        texts = [f"{claimed:.1%}, {held:.1%} |" for claimed, held in cells]
        print(f"| {num_settings} x {num_seeds} |", *texts, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
