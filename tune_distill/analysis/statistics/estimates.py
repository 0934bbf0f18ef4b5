"""The uncertainty of a mean over seeds and examples, by analysis of variance and Student's t.

A study's scores are crossed: every seed answers the same examples. So three things make a mean
uncertain: which examples were drawn, which seeds, and the noise of one seed on one example. The
variance of the mean is what the examples show, plus what seeds add to it. The interval is Student's
with the degrees of freedom that seeds and examples leave; the interval of a share is Wilson's.
docs/statistics.md compares both with a bootstrap.

Shape suffixes: R seeds, E examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from tune_distill.analysis.statistics.seed_noise import SeedNoise

Real = NDArray[np.float64]

CONFIDENCE = 0.95

# A variance below this is a rounding error of sums of equal numbers.
_ROUNDING = 1e-24

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


def estimate(values_RE: Real, noise: SeedNoise | None, bounds: Bounds = UNBOUNDED) -> Estimate:
    """Return the mean of R seeds on E examples, with its interval.

    `bounds` are the limits of the mean. If the examples show no variance, their part of a bounded
    mean's interval is that of no event in E trials (Clopper and Pearson 1934), not a point.
    """
    num_seeds, num_examples = values_RE.shape
    value = float(values_RE.mean())
    parts, from_examples, from_seeds = _parts(values_RE, noise)
    variance, df, t = from_examples + from_seeds, np.inf, 0.0
    if variance < _ROUNDING:
        variance = 0.0
    else:
        df = _degrees(from_examples, from_seeds, values_RE.shape, noise, parts)
        t = -float(stdtrit(df, (1 - CONFIDENCE) / 2))
    below = above = t * float(np.sqrt(variance))
    if np.ptp(values_RE.mean(0)) == 0 and np.isfinite(bounds).all():
        no_event = 1 - ((1 - CONFIDENCE) / 2) ** (1 / num_examples)
        below = above = float(np.hypot(no_event, t * np.sqrt(from_seeds)))
    elif bounds == SHARE and 0 < value < 1:
        below, above = _reach_of_share(value, t**2 * from_examples, t**2 * from_seeds)
    return Estimate(
        value,
        max(bounds[0], value - below),
        min(bounds[1], value + above),
        float(np.sqrt(variance)),
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


def _parts(values_RE: Real, noise: SeedNoise | None) -> tuple[Parts, float, float]:
    """Return the variances behind the values, and what examples and seeds add to the mean's.

    Source: the two-way analysis of variance with one value per cell (Searle et al. 1992, ch. 4).
    """
    num_seeds, num_examples = values_RE.shape
    means_E = values_RE.mean(axis=0)
    between = num_seeds * float(means_E.var(ddof=1)) if num_examples > 1 else 0.0
    from_examples = between / (num_seeds * num_examples)
    if noise is None:
        return Parts(None, between / num_seeds, 0.0), from_examples, 0.0
    if num_seeds == 1 or num_examples == 1:
        # Other settings show the seeds' noise; the parts `example` and `noise` cannot be separated.
        seed = max(0.0, noise.variance - from_examples)
        return Parts(seed, between / num_seeds, 0.0), from_examples, seed / num_seeds
    rest = values_RE - means_E - values_RE.mean(axis=1, keepdims=True) + values_RE.mean()
    residual = float((rest**2).sum()) / ((num_seeds - 1) * (num_examples - 1))
    seed = max(0.0, noise.variance - residual / num_examples)
    parts = Parts(seed, max(0.0, between - residual) / num_seeds, residual)
    return parts, max(between, residual) / (num_seeds * num_examples), seed / num_seeds


def _degrees(
    from_examples: float,
    from_seeds: float,
    shape: tuple[int, ...],
    noise: SeedNoise | None,
    parts: Parts,
) -> float:
    """Return the degrees of freedom of the sum of both variances (Satterthwaite 1946)."""
    num_seeds, num_examples = shape
    spread = from_examples**2 / max(1, num_examples - 1)
    if noise is not None:
        # The seeds' sum of squares includes the noise of examples. If it is smaller than that noise
        # alone, no variance is left for the seeds. Few seeds cannot rule one out, so at least the
        # standard error of such a sum of squares counts.
        chance = parts.noise / num_examples * min(1.0, np.sqrt(2 / noise.df))
        spread += (max(noise.variance, chance) / num_seeds) ** 2 / noise.df
    return max(1.0, float((from_examples + from_seeds) ** 2 / spread))
