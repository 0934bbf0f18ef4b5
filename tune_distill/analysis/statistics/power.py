"""What a comparison could have found, and what would settle one that is open."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import stats

from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.statistics.significance import ALPHA, POWER

MAX_EXAMPLES = 1_000_000
MAX_SEEDS = 1000
"""More than anybody will run: beyond these a difference is not worth settling."""


def smallest_detectable(estimate: Estimate, num_comparisons: int) -> float:
    """The difference that such a comparison, one of so many, finds in four of five studies."""
    if estimate.standard_error == 0 and 2.0 ** (1 - estimate.num_examples) > ALPHA:
        # Not even if all of so few examples differed.
        return 1.0
    if estimate.standard_error == 0:
        # All answers alike: what the interval cannot rule out.
        return estimate.high - estimate.value
    return _needed_gap(estimate.df, num_comparisons) * estimate.standard_error


def examples_needed(estimate: Estimate, num_comparisons: int) -> int | None:
    """How many examples, with the same seeds, would show the difference if it is as large as seen.

    None where no number of examples would: the seeds differ too much.
    """
    gap = _needed_gap(estimate.df, num_comparisons)
    return _smallest(
        lambda count: _shows(estimate, gap, estimate.num_seeds, count),
        estimate.num_examples,
        MAX_EXAMPLES,
    )


def seeds_needed(estimate: Estimate, num_comparisons: int) -> int | None:
    """How many seeds, on the same examples, would show the difference if it is as large as seen.

    None where no number would, or where one seed has not shown how much seeds differ.
    """
    if estimate.parts.seed is None:
        return None

    def shows(count: int) -> bool:
        # More seeds leave more degrees of freedom too.
        df = max(1.0, estimate.df) * (count - 1) / max(1, estimate.num_seeds - 1)
        return _shows(estimate, _needed_gap(max(1.0, df), num_comparisons), count)

    return _smallest(shows, max(2, estimate.num_seeds), MAX_SEEDS)


def _needed_gap(df: float, num_comparisons: int) -> float:
    """How many standard errors a difference must be, to pass Holm's first step that often."""
    level = ALPHA / num_comparisons
    return float(stats.t.isf(level / 2, df) + stats.t.isf(1 - POWER, df))


def _shows(estimate: Estimate, gap: float, num_seeds: int, num_examples: int | None = None) -> bool:
    variance = estimate.parts.variance(num_seeds, num_examples or estimate.num_examples)
    return abs(estimate.value) >= gap * math.sqrt(variance)


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from low to high that `holds`, where all larger ones do too."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
