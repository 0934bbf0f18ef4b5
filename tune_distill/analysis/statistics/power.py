"""Power: the difference a comparison could detect, and the sizes that would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.statistics.significance import ALPHA, POWER

MAX_EXAMPLES = 1_000_000
MAX_SEEDS = 1000
"""The most examples and seeds that are considered to settle a difference."""


def smallest_detectable(estimate: Estimate, num_comparisons: int) -> float:
    """Return the difference that one of this many such comparisons detects with 80 % power."""
    if estimate.standard_error == 0 and 2.0 ** (1 - estimate.num_examples) > ALPHA:
        # So few examples are not significant even if all of them differ.
        return 1.0
    if estimate.standard_error == 0:
        # All values are equal: the largest difference that the interval allows.
        return estimate.high - estimate.value
    return _needed_gap(estimate.df, num_comparisons) * estimate.standard_error


def examples_needed(estimate: Estimate, num_comparisons: int) -> int | None:
    """Return how many examples, with the same seeds, would show a difference as large as seen.

    None if no number of examples would, because the seeds differ too much.
    """
    gap = _needed_gap(estimate.df, num_comparisons)
    return _smallest(
        lambda count: _shows(estimate, gap, estimate.num_seeds, count),
        estimate.num_examples,
        MAX_EXAMPLES,
    )


def seeds_needed(estimate: Estimate, num_comparisons: int) -> int | None:
    """Return how many seeds, on the same examples, would show a difference as large as seen.

    None if no number would, or if it is not known how much seeds differ.
    """
    if estimate.parts.seed is None:
        return None

    def shows(count: int) -> bool:
        # More seeds also give more degrees of freedom.
        df = max(1.0, estimate.df) * (count - 1) / max(1, estimate.num_seeds - 1)
        return _shows(estimate, _needed_gap(max(1.0, df), num_comparisons), count)

    return _smallest(shows, max(2, estimate.num_seeds), MAX_SEEDS)


def _needed_gap(df: float, num_comparisons: int) -> float:
    """Return how many standard errors pass Holm's first step with the probability POWER."""
    level = ALPHA / num_comparisons
    return float(stats.t.isf(level / 2, df) + stats.t.isf(1 - POWER, df))


def _shows(estimate: Estimate, gap: float, num_seeds: int, num_examples: int | None = None) -> bool:
    variance = estimate.parts.variance(num_seeds, num_examples or estimate.num_examples)
    return abs(estimate.value) >= gap * math.sqrt(variance)


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest number from low to high that `holds` accepts, as it does larger ones."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
