"""The uncertainty of a mean over seeds and examples, by analysis of variance and Student's t.

A study's scores are crossed: every seed answers the same examples. So three things make a mean
uncertain: which examples were drawn, which seeds, and the noise of one seed on one example. The
variance of the mean is what the examples show, plus what seeds add to it, which is known less well.
The interval is Student's; the interval of a share is Wilson's. docs/statistics.md compares both
with a bootstrap.

Shape suffixes: R seeds, E examples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from tune_distill.analysis.statistics.seed_noise import (
    ROUNDING,
    SeedVariance,
    residual_variance,
)

Real = NDArray[np.float64]

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2

# The degrees of freedom of Student's distributions, and how many times as far a tail of a tenth of
# the probability begins.
_DEGREES = np.concatenate([np.geomspace(1, 1000, 400), [1e6]])
_RATIOS = stdtrit(_DEGREES, _TAIL / 10) / stdtrit(_DEGREES, _TAIL)

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Bounds = (-1.0, 1.0)
UNBOUNDED: Bounds = (-np.inf, np.inf)


@dataclass(frozen=True)
class Parts:
    """The parts of the variance of a mean over R seeds and E examples.

    `seed` is the variance from seed to seed, None if one seed cannot show it; `example` is that
    from example to example, and `noise` the rest. With one seed, `example` includes `noise`.
    """

    seed: float | None
    example: float
    noise: float

    def variance(self, num_seeds: int, num_examples: int) -> float:
        """Return the variance of the mean of this many seeds and examples."""
        return (
            (self.seed or 0.0) / num_seeds
            + self.example / num_examples
            + self.noise / (num_seeds * num_examples)
        )


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval. `df` are the degrees of freedom of its standard error."""

    value: float
    low: float
    high: float
    standard_error: float
    df: float
    num_seeds: int
    num_examples: int
    parts: Parts

    @property
    def p_value(self) -> float:
        """The two-sided p-value that the mean is zero; with one seed, of the paired t-test.

        If all values are the same, it is that of the sign test.
        """
        if self.standard_error == 0:
            return 1.0 if self.value == 0 else 2.0 ** (1 - self.num_examples)
        return float(2 * stdtr(self.df, -abs(self.value) / self.standard_error))


def estimate(values_RE: Real, seeds: SeedVariance | None, bounds: Bounds = UNBOUNDED) -> Estimate:
    """Return the mean of R seeds on E examples, with its interval.

    `seeds` is what is known of the variance between seeds, None if nothing is. `bounds` are the
    limits of the mean. If the examples show no variance, their part of a bounded mean's interval is
    that of no event in E trials (Clopper and Pearson 1934), not a point.
    """
    num_seeds, num_examples = values_RE.shape
    value = float(values_RE.mean())
    parts, from_examples = _parts(values_RE)
    known = SeedVariance(np.zeros(1), np.ones(1)) if seeds is None else seeds
    error, df = _nearest_t(
        from_examples, known.values_M / num_seeds, known.weights_M, max(1, num_examples - 1)
    )
    from_seeds = max(0.0, error**2 - from_examples)
    if seeds is not None:
        parts = replace(parts, seed=from_seeds * num_seeds)
    t = -float(stdtrit(df, _TAIL)) if error else 0.0
    below = above = t * error
    if np.ptp(values_RE.mean(0)) == 0 and np.isfinite(bounds).all():
        no_event = 1 - _TAIL ** (1 / num_examples)
        below = above = float(np.hypot(no_event, t * np.sqrt(from_seeds)))
    elif bounds == SHARE and 0 < value < 1:
        below, above = _reach_of_share(value, t**2 * from_examples, t**2 * from_seeds)
    return Estimate(
        value,
        max(bounds[0], value - below),
        min(bounds[1], value + above),
        error,
        df,
        num_seeds,
        num_examples,
        parts,
    )


def _reach_of_share(value: float, examples: float, seeds: float) -> tuple[float, float]:
    """Return how far the interval of a share reaches below and above it.

    `examples` and `seeds` are t^2 times the variances. The examples' part is Wilson's interval with
    the number of examples that such a variance stands for (Wilson 1927; Kish 1965). The seeds' part
    is added in squares (Zou and Donner 2008).
    """
    weight = examples / (value * (1 - value))
    center = (value + weight / 2) / (1 + weight)
    half = np.sqrt(examples + weight**2 / 4) / (1 + weight)
    reach = np.hypot([value - center + half, center + half - value], np.sqrt(seeds))
    return float(reach[0]), float(reach[1])


def _parts(values_RE: Real) -> tuple[Parts, float]:
    """Return the parts of the variance but the seeds', and what they add to the mean's.

    Source: the two-way analysis of variance with one value per cell (Searle et al. 1992, ch. 4).
    """
    num_seeds, num_examples = values_RE.shape
    means_E = values_RE.mean(axis=0)
    between = num_seeds * float(means_E.var(ddof=1)) if num_examples > 1 else 0.0
    if num_seeds == 1 or num_examples == 1:
        # The parts `example` and `noise` cannot be separated.
        return Parts(None, between / num_seeds, 0.0), between / (num_seeds * num_examples)
    residual = residual_variance(values_RE)
    parts = Parts(None, max(0.0, between - residual) / num_seeds, residual)
    return parts, max(between, residual) / (num_seeds * num_examples)


def _nearest_t(
    from_examples: float, from_seeds_M: Real, weights_M: Real, df: float
) -> tuple[float, float]:
    """Return the standard error and degrees of freedom of the Student's t nearest to the error.

    The error is normal, and its variance is `from_examples`, with `df` degrees of freedom, plus one
    of the values of `from_seeds_M`. Both distributions have the same quantiles in the tails of a
    95 % interval and of a test at a tenth of its level.
    """
    deviations_M = np.sqrt(from_examples + from_seeds_M)
    if deviations_M.max() ** 2 < ROUNDING:
        return 0.0, np.inf
    if len(deviations_M) == 1:
        return float(deviations_M[0]), df
    near, far = (_quantile(deviations_M, weights_M, df, tail) for tail in (_TAIL, _TAIL / 10))
    found = float(np.interp(-far / near, -_RATIOS, _DEGREES))
    return near / -float(stdtrit(found, _TAIL)), found


def _quantile(deviations_M: Real, weights_M: Real, df: float, tail: float) -> float:
    """Return what the error exceeds with the probability `tail`."""
    reach = -float(stdtrit(df, tail))
    low, high = reach * float(deviations_M.min()), reach * float(deviations_M.max())
    divisors_M = np.maximum(deviations_M, 1e-300)

    def excess(limit: float) -> float:
        return float(weights_M @ stdtr(df, -limit / divisors_M)) - tail

    return float(brentq(excess, low, high, rtol=1e-6))
