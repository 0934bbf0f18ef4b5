"""How often intervals of a mean contain the truth: the second table of docs/statistics.md.

python -m tests.analysis.coverage [STUDIES]

For each made-up population, the intervals are the percentile bootstrap scaled to the unbiased
variance and widened by Student's t, Student's interval, and the package's interval of a share.
Shapes: N studies, E examples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tune_distill.analysis.statistics.estimates import SHARE, UNBOUNDED, Bounds, estimate

Real = NDArray[np.float64]
Drawn = tuple[Real, Real]
"""Values (N, E) and the true means (N) that they are drawn from."""

NUM_RESAMPLES = 4000
TAIL = 0.025


def difference_of_accuracy(least: float, most: float, better: float) -> Callable[..., Drawn]:
    """Return a function that draws differences of correct answers.

    A share between `least` and `most` of the answers differs, a share `better` of these for the
    better.
    """

    def draw(rng: np.random.Generator, studies: int, examples: int) -> Drawn:
        differ = rng.uniform(least, most, (studies, 1))
        drawn = rng.random((studies, examples))
        values = np.where(drawn < differ * better, 1.0, np.where(drawn < differ, -1.0, 0.0))
        return values, differ[:, 0] * (2 * better - 1)

    return draw


def difference_of_rouge(rng: np.random.Generator, studies: int, examples: int) -> Drawn:
    """Draw differences of ROUGE: a tenth of the texts differ, seven of ten for the better."""
    shape = (studies, examples)
    signs = np.where(rng.random(shape) < 0.7, 1, -1) * (rng.random(shape) < 0.1)
    return rng.beta(1, 3, shape) * signs, np.full(studies, 0.1 * 0.4 * 0.25)


def loss(sigma: float, paired: bool) -> Callable[..., Drawn]:
    """Return a function that draws lognormal losses, or differences of two."""

    def draw(rng: np.random.Generator, studies: int, examples: int) -> Drawn:
        first, second = np.exp(rng.normal(0, sigma, (2, studies, examples)))
        mean = 0.0 if paired else np.exp(sigma**2 / 2)
        return first - paired * second, np.full(studies, mean)

    return draw


def accuracy(least: float, most: float, num_seeds: int) -> Callable[..., Drawn]:
    """Return a function that draws mean right answers of seeds that agree on hard examples."""

    def draw(rng: np.random.Generator, studies: int, examples: int) -> Drawn:
        truth = rng.uniform(least, most, studies)
        ability = stats.norm.ppf(truth)[:, None] * np.sqrt(5) - rng.normal(
            0, 2, (studies, examples)
        )
        noise = rng.normal(size=(num_seeds, studies, examples))
        return (ability > noise).mean(axis=0), truth

    return draw


ROWS: tuple[tuple[str, Callable[..., Drawn], tuple[int, ...]], ...] = (
    (
        "difference of accuracy, 2-10 % differ, half for the better",
        difference_of_accuracy(0.02, 0.1, 0.5),
        (100, 500),
    ),
    ("the same, four of five for the better", difference_of_accuracy(0.02, 0.1, 0.8), (20, 100)),
    ("the same, all for the better", difference_of_accuracy(0.02, 0.1, 1.0), (50, 200)),
    (
        "difference of accuracy, 10-40 % differ, seven of ten for the better",
        difference_of_accuracy(0.1, 0.4, 0.7),
        (50, 200),
    ),
    ("difference of ROUGE, a tenth differs", difference_of_rouge, (50, 200)),
    ("difference of losses, lognormal, sigma 1", loss(1.0, True), (100,)),
    ("loss, lognormal, sigma 0.5", loss(0.5, False), (200,)),
    ("loss, lognormal, sigma 1", loss(1.0, False), (100,)),
    ("accuracy 70-90 %", accuracy(0.7, 0.9, 1), (50, 200)),
    ("accuracy 90-95 %", accuracy(0.9, 0.95, 1), (100, 500)),
    ("accuracy 95-99 %", accuracy(0.95, 0.99, 1), (200, 500)),
    ("accuracy 95-99 %, mean of three seeds", accuracy(0.95, 0.99, 3), (100, 200)),
)


def bootstrapped(rng: np.random.Generator, values_NE: Real) -> Real:
    """Return the ends (N, 2) of the bootstrap's intervals."""
    num_examples = values_NE.shape[1]
    weights = rng.multinomial(num_examples, np.full(num_examples, 1 / num_examples), NUM_RESAMPLES)
    means_N1 = values_NE.mean(axis=1, keepdims=True)
    deviations_NB = values_NE @ weights.T / num_examples - means_N1
    errors_N1 = stats.sem(values_NE, axis=1)[:, None]
    deviations_NB *= errors_N1 / np.sqrt((deviations_NB**2).mean(axis=1, keepdims=True))
    deviations_NB *= stats.t.isf(TAIL, num_examples - 1) / stats.norm.isf(TAIL)
    return means_N1 + np.quantile(deviations_NB, [TAIL, 1 - TAIL], axis=1).T


def closed(values_NE: Real, bounds: Bounds) -> Real:
    """Return the ends (N, 2) of the package's intervals of one seed."""
    found = [estimate(values_E[None], None, bounds) for values_E in values_NE]
    return np.array([[one.low, one.high] for one in found])


def main(studies: int = 4000) -> None:
    """Print the table row by row."""
    print("| mean of | examples | bootstrap | Student's t | Wilson's |\n|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for label, draw, sizes in ROWS:
        for examples in sizes:
            values_NE, truth_N = draw(rng, studies, examples)
            # If all values are equal, every method uses Clopper and Pearson's interval.
            varied = np.ptp(values_NE, axis=1) > 0
            values_NE, truth_N = values_NE[varied], truth_N[varied]
            found = [bootstrapped(rng, values_NE), closed(values_NE, UNBOUNDED)]
            if label.startswith("accuracy"):
                found.append(closed(values_NE, SHARE))
            held = [((ends[:, 0] <= truth_N) & (truth_N <= ends[:, 1])).mean() for ends in found]
            print(f"| {label} | {examples} |", *(f"{share:.1%} |" for share in held), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
