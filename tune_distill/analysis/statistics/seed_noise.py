"""How much means vary from seed to seed: a hierarchical model of all settings of a study.

Three seeds alone say little about their variance. All settings together say more, but one of them
may be noisier than the others. So a setting's variance is the study's typical variance times a
factor: most settings have the factor 1, some a larger one. Both are integrated out on a grid
(Gelman 2006, "Prior distributions for variance parameters in hierarchical models"). With equal
settings, the result is near the pooled analysis of variance; a setting whose seeds vary more gets
more of its own.

Shape suffixes: S settings, G typical variances, F factors, M values of a variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

_FACTORS_F = np.array([1.0, 3.0, 9.0, 27.0])
_PRIOR_F = np.array([0.7, 0.1, 0.1, 0.1])
"""Seven of ten settings are as noisy as is typical. docs/statistics.md has the error rates that
this prior leads to."""

ROUNDING = 1e-24
"""A variance below this is a rounding error of sums of equal numbers."""

# Typical variances, as multiples of the mean of the observed ones.
_GRID_G = np.logspace(-3.0, 6.0, 120)

_BINS = 128
"""Values to which what is known of a variance is reduced; neighbours differ by a fifth."""


@dataclass(frozen=True)
class Observed:
    """The variance of the means of a setting's seeds, and its degrees of freedom.

    `noise` is what the noise of single answers adds to such a variance.
    """

    variance: float
    df: float
    noise: float


@dataclass(frozen=True)
class SeedVariance:
    """The possible values (M) of a variance between seeds, and the probability of each."""

    values_M: Real
    weights_M: Real


class SeedNoise:
    """Infers each setting's variance between seeds from those observed in all settings."""

    def __init__(self, observed: Mapping[int, Observed]) -> None:
        self._row = {setting: row for row, setting in enumerate(observed)}
        variance_S, df_S, noise_S = np.array(
            [(one.variance, one.df, one.noise) for one in observed.values()]
        ).T
        scale = float(np.average(variance_S, weights=df_S))
        self._typical_G = _GRID_G * scale
        # Without any variance between seeds, there is nothing to infer.
        self._weights_G, self._weights_SGF = np.ones(1), np.ones((len(observed), 1, 1))
        if scale > ROUNDING:
            self._infer(variance_S, df_S, noise_S)

    def of(self, setting: int) -> SeedVariance:
        """Return the variance of a setting's seeds."""
        weights_GF = self._weights_SGF[self._row[setting]]
        return self._reduced(_FACTORS_F, weights_GF)

    def of_difference(self, setting: int, reference: int) -> SeedVariance:
        """Return the variance of the difference of two settings with independent seeds."""
        ours_GF, theirs_GF = (self._weights_SGF[self._row[one]] for one in (setting, reference))
        factors = np.add.outer(_FACTORS_F, _FACTORS_F).ravel()
        both = ours_GF[:, :, None] * theirs_GF[:, None, :]
        return self._reduced(factors, both.reshape(len(both), -1))

    def _infer(self, variance_S: Real, df_S: Real, noise_S: Real) -> None:
        """Weigh every typical variance, and under each of them every setting's factors."""
        expected_SGF = self._typical_G[:, None] * _FACTORS_F + noise_S[:, None, None]
        # Sums of squares are chi-squared, scaled by the expected variance.
        log_SGF = -df_S[:, None, None] / 2 * (
            np.log(expected_SGF) + variance_S[:, None, None] / expected_SGF
        ) + np.log(_PRIOR_F)
        log_SG = np.logaddexp.reduce(log_SGF, axis=2)
        # The prior of an expected variance v is 1 / v, on a grid of equal steps of the logarithm.
        noise = float(np.average(noise_S, weights=df_S))
        log_G = log_SG.sum(axis=0) + np.log(self._typical_G / (self._typical_G + noise))
        self._weights_G = np.exp(log_G - np.logaddexp.reduce(log_G))
        self._weights_SGF = np.exp(log_SGF - log_SG[:, :, None])

    def _reduced(self, factors_F: Real, weights_GF: Real) -> SeedVariance:
        """Return typical variances times factors, reduced to a few bins."""
        if len(self._weights_G) == 1:
            return SeedVariance(np.zeros(1), np.ones(1))
        values = np.multiply.outer(self._typical_G, factors_F).ravel()
        weights = (self._weights_G[:, None] * weights_GF).ravel()
        edges = np.log(values)
        bins = ((edges - edges.min()) / np.ptp(edges) * (_BINS - 1)).astype(np.intp)
        total_M = np.bincount(bins, weights, _BINS)
        kept = total_M > 1e-12
        mean_M = np.bincount(bins, weights * values, _BINS)[kept] / total_M[kept]
        return SeedVariance(mean_M, total_M[kept] / total_M[kept].sum())


def observed_noise(values_RE: Real) -> Observed | None:
    """Return the variance of the means of these R seeds on E examples, None with one seed.

    Source: the two-way analysis of variance with one value per cell (Searle et al. 1992, ch. 4).
    """
    num_seeds, num_examples = values_RE.shape
    if num_seeds < 2:
        return None
    means_R = values_RE.mean(axis=1)
    noise = residual_variance(values_RE) / num_examples if num_examples > 1 else 0.0
    return Observed(float(means_R.var(ddof=1)), num_seeds - 1, noise)


def residual_variance(values_RE: Real) -> float:
    """Return the variance that neither the seeds nor the examples explain."""
    num_seeds, num_examples = values_RE.shape
    rest = values_RE - values_RE.mean(0) - values_RE.mean(1, keepdims=True) + values_RE.mean()
    return float(np.square(rest).sum() / ((num_seeds - 1) * (num_examples - 1)))
