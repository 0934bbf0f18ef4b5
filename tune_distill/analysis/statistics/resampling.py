"""How sure a mean over seeds and examples is: a paired bootstrap of both.

A study's scores are crossed: every seed answers the same examples. So three things make a mean
uncertain: which examples were drawn, which seeds, and the noise of one seed on one example. The
examples are resampled as they are, there are hundreds of them. Three seeds cannot be resampled into
an honest interval: nothing in them is further out than the worst of the three. So what is resampled
is the seeds' deviations, pooled over all settings of the study. Both parts are scaled to the
variances that the analysis of variance gives them, the seeds' to what they add beyond what the
examples show already; and the interval is widened by Student's t at the degrees of freedom that the
seeds leave.

Shape suffixes: R seeds, E examples, S settings, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Real = NDArray[np.float64]

NUM_RESAMPLES = 4000
CONFIDENCE = 0.95

# Weights of so many examples at a time: 16 MB.
_BLOCK = 2_000_000

# A variance below this is what adding up equal numbers leaves.
_ROUNDING = 1e-24

# Fewer resamples beyond zero than this do not tell how thin the tail is.
_ENOUGH = 20

# Settings are taken to share their seed noise unless Bartlett's test is this sure that they do not.
_UNEQUAL = 0.01


@dataclass(frozen=True)
class SeedNoise:
    """What seeds add to a mean over examples, pooled over a study's settings.

    `variance` is that of one seed's mean (of the difference of two, where `paired`), sampling
    noise of the examples included, with `df` degrees of freedom. `residuals` are the deviations
    that it was computed from.
    """

    variance: float
    df: int
    residuals: Real
    paired: bool


@dataclass(frozen=True)
class Parts:
    """Variances behind a mean over R seeds and E examples: their sum, below, is its own.

    `seed` is the variance from seed to seed, none where one seed cannot tell; `example` that from
    example to example, and `noise` the rest. With one seed `example` holds both.
    """

    seed: float | None
    example: float
    noise: float

    def variance(self, num_seeds: int, num_examples: int) -> float:
        """The variance of the mean of so many seeds and examples."""
        return (
            (self.seed or 0.0) / num_seeds
            + self.example / num_examples
            + self.noise / (num_seeds * num_examples)
        )


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval. `df` are the degrees of freedom of its standard error.

    `beyond` is the share of resamples, widened like the interval, on the other side of zero; none
    where they are too few.
    """

    value: float
    low: float
    high: float
    standard_error: float
    df: float
    num_seeds: int
    num_examples: int
    parts: Parts
    beyond: float | None = None

    @property
    def p_value(self) -> float:
        """Two-sided, that the mean is zero: from how many resamples lie beyond zero.

        Where too few do to tell, from the standard error: with one seed that is the paired t-test.
        Where all values are the same, that of the sign test.
        """
        if self.standard_error == 0:
            return 1.0 if self.value == 0 else 2.0 ** (1 - self.num_examples)
        if self.beyond is not None:
            return min(1.0, 2 * self.beyond)
        return float(2 * stats.t.sf(abs(self.value) / self.standard_error, self.df))


def pooled_seed_noise(means_SR: Real, paired: bool) -> SeedNoise | None:
    """The seed noise in the means of S settings and R seeds; NaN where a trial is missing.

    Paired: what is left of a setting's mean once its level and the seed's own are taken away,
    doubled for a difference of two. Otherwise: the deviation from the setting's level. None where
    there is nothing to compare, or where settings clearly differ in their noise.
    """
    present = ~np.isnan(means_SR)
    if present.sum() == 0:
        return None
    rows, columns = np.nonzero(present)
    residuals = _centred(means_SR[present][:, None], rows)[:, 0]
    df = len(rows) - int(present.any(axis=1).sum())
    if paired:
        # The settings' levels are taken from the seeds' columns too, and then are no part of the
        # fit, which would be as wide as the study (Frisch, Waugh and Lovell 1933, 1963).
        seeds = _centred(np.eye(means_SR.shape[1])[columns], rows)
        fitted, _, rank, _ = np.linalg.lstsq(seeds, residuals, rcond=None)
        residuals = residuals - seeds @ fitted
        df -= int(rank)
    if df < 1 or _unequal(np.split(residuals, np.flatnonzero(np.diff(rows)) + 1)):
        return None
    variance = float(residuals @ residuals) / df
    return SeedNoise(variance * (2 if paired else 1), df, residuals, paired)


def _centred(values_NK: Real, groups: NDArray[np.intp]) -> Real:
    """The columns less the means of their groups, which are numbers in ascending order."""
    _, starts, numbers, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    means = np.add.reduceat(values_NK, starts, axis=0) / sizes[:, None]
    return np.asarray(values_NK - means[numbers])


def own_seed_noise(values_RE: Real, paired: bool) -> SeedNoise | None:
    """The seed noise of these R seeds alone; none with one seed."""
    means_R = values_RE.mean(axis=1)
    if len(means_R) < 2:
        return None
    return SeedNoise(float(means_R.var(ddof=1)), len(means_R) - 1, means_R - means_R.mean(), paired)


def _unequal(groups: Sequence[Real]) -> bool:
    groups = [group for group in groups if len(group) > 1 and np.ptp(group) > 0]
    return len(groups) > 1 and bool(stats.bartlett(*groups).pvalue < _UNEQUAL)


def resampled_means(
    columns: Sequence[tuple[NDArray[np.intp], Real]], num_examples: int, seed: int = 0
) -> list[Real]:
    """For each (examples, values): means (B) of the values over B resamples of all E examples.

    `examples` (n) are positions among the E, `values` (n) belong to them. All columns see the same
    resamples, so that whatever is compared is paired.
    """
    rng = np.random.default_rng(seed)
    groups: dict[bytes, list[int]] = {}
    for number, (examples, _) in enumerate(columns):
        groups.setdefault(examples.tobytes(), []).append(number)
    stacked = [
        (columns[numbers[0]][0], np.stack([columns[number][1] for number in numbers], axis=1))
        for numbers in groups.values()
    ]
    results = [np.empty((NUM_RESAMPLES, values.shape[1])) for _, values in stacked]
    block = max(1, min(NUM_RESAMPLES, _BLOCK // num_examples))
    for start in range(0, NUM_RESAMPLES, block):
        count = min(block, NUM_RESAMPLES - start)
        weights = _weights(rng, count, num_examples)
        for (examples, values), result in zip(stacked, results, strict=True):
            chosen = weights if len(examples) == num_examples else weights[:, examples]
            total = chosen.sum(axis=1, keepdims=True)
            # A resample without any of a few examples says nothing of them.
            total[total == 0] = np.nan
            result[start : start + count] = chosen @ values / total
    ordered: list[Real] = [np.empty(0)] * len(columns)
    for numbers, result in zip(groups.values(), results, strict=True):
        for position, number in enumerate(numbers):
            ordered[number] = result[:, position]
    return ordered


def _weights(rng: np.random.Generator, count: int, num_examples: int) -> Real:
    """How often each example (E) is drawn in each of `count` resamples of E."""
    drawn = rng.integers(num_examples, size=(count, num_examples))
    drawn += np.arange(count)[:, None] * num_examples
    flat = np.bincount(drawn.ravel(), minlength=count * num_examples)
    return flat.reshape(count, num_examples).astype(np.float64)


def estimate(
    values_RE: Real, noise: SeedNoise | None, means_B: Real, *, bounded: bool, seed: int = 0
) -> Estimate:
    """The mean of R seeds on E examples, with its interval.

    `means_B`: the means over resamples of the examples of the mean over seeds. `bounded`: the
    values lie within 1 of each other, so that even where all are equal, the interval is that of
    no event in E trials (Clopper and Pearson 1934) and not a point.
    """
    num_seeds, num_examples = values_RE.shape
    value = float(values_RE.mean())
    parts, from_examples, from_seeds = _parts(values_RE, noise)
    variance = from_examples + from_seeds
    if variance < _ROUNDING:
        margin = 1 - ((1 - CONFIDENCE) / 2) ** (1 / num_examples) if bounded else 0.0
        return Estimate(
            value, value - margin, value + margin, 0.0, np.inf, num_seeds, num_examples, parts
        )
    df = _degrees(from_examples, from_seeds, values_RE.shape, noise, parts)
    deviations = _scaled(means_B - value, from_examples)
    if noise is not None and from_seeds > 0:
        rng = np.random.default_rng(seed)
        deviations = deviations + _scaled(_seed_means(rng, noise, num_seeds), from_seeds)
    tail = (1 - CONFIDENCE) / 2
    widened = deviations * stats.t.isf(tail, df) / stats.norm.isf(tail)
    low, high = np.nanquantile(widened, [tail, 1 - tail])
    return Estimate(
        value,
        value + float(low),
        value + float(high),
        float(np.sqrt(variance)),
        df,
        num_seeds,
        num_examples,
        parts,
        _beyond(value, widened[~np.isnan(widened)]),
    )


def _beyond(value: float, deviations_B: Real) -> float | None:
    """The share of resamples of the mean that are not on its own side of zero."""
    if value == 0:
        return 0.5
    count = int((deviations_B * np.sign(value) <= -abs(value)).sum())
    return count / len(deviations_B) if count >= _ENOUGH else None


def _parts(values_RE: Real, noise: SeedNoise | None) -> tuple[Parts, float, float]:
    """Variances behind the values, and what examples and seeds add to the mean's own.

    Source: the two-way analysis of variance with one value a cell (Searle et al. 1992, ch. 4).
    """
    num_seeds, num_examples = values_RE.shape
    means_E = values_RE.mean(axis=0)
    between = num_seeds * float(means_E.var(ddof=1)) if num_examples > 1 else 0.0
    from_examples = between / (num_seeds * num_examples)
    if noise is None:
        return Parts(None, between / num_seeds, 0.0), from_examples, 0.0
    if num_seeds == 1 or num_examples == 1:
        # Other settings have shown the seeds' noise; what examples add to it is not known apart.
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
    """Degrees of freedom of the sum of both (Satterthwaite 1946)."""
    num_seeds, num_examples = shape
    spread = from_examples**2 / max(1, num_examples - 1)
    if noise is not None:
        # The seeds' sum of squares holds the noise of examples too. Where it came out smaller than
        # that noise alone, no variance is left for the seeds; but few seeds cannot rule it out, so
        # what counts is at least the standard error that such a sum of squares has.
        chance = parts.noise / num_examples * min(1.0, np.sqrt(2 / noise.df))
        spread += (max(noise.variance, chance) / num_seeds) ** 2 / noise.df
    return max(1.0, float((from_examples + from_seeds) ** 2 / spread))


def _seed_means(rng: np.random.Generator, noise: SeedNoise, num_seeds: int) -> Real:
    """Means (B) of so many deviations drawn from the pool, or of differences of two."""
    drawn = rng.choice(noise.residuals, size=(NUM_RESAMPLES, num_seeds))
    if noise.paired:
        drawn = drawn - rng.choice(noise.residuals, size=(NUM_RESAMPLES, num_seeds))
    return np.asarray(drawn.mean(axis=1))


def _scaled(deviations_B: Real, variance: float) -> Real:
    """The deviations with this variance about zero; a bootstrap of few values has less."""
    spread = float(np.sqrt(np.nanmean(deviations_B**2)))
    return deviations_B * (np.sqrt(variance) / spread) if spread > 0 else deviations_B
