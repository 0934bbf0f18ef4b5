"""How much means vary from seed to seed, pooled over the settings of a study.

Three seeds alone say little about their variance; all settings together say more. Shape suffixes:
R seeds, E examples, S settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Real = NDArray[np.float64]

# Settings count as equally noisy unless Bartlett's test has a p-value below this.
_UNEQUAL = 0.01


@dataclass(frozen=True)
class SeedNoise:
    """The variance of one seed's mean (if paired, of the difference of two means).

    It includes the sampling noise of the examples. `df` are its degrees of freedom.
    """

    variance: float
    df: int


def pooled_seed_noise(means_SR: Real, paired: bool) -> SeedNoise | None:
    """Return the seed noise in the means of S settings and R seeds; NaN is a missing trial.

    Paired: the variance of means after the setting's and the seed's levels are subtracted, doubled
    for a difference of two. Otherwise: the variance about the setting's level. None if there is
    nothing to compare, or if settings clearly differ in their noise.
    """
    present = ~np.isnan(means_SR)
    if present.sum() == 0:
        return None
    rows, columns = np.nonzero(present)
    residuals = _centred(means_SR[present][:, None], rows)[:, 0]
    df = len(rows) - int(present.any(axis=1).sum())
    if paired:
        # The settings' levels are subtracted from the seeds' columns too. The fit then needs no
        # column for each setting (Frisch, Waugh and Lovell 1933, 1963).
        seeds = _centred(np.eye(means_SR.shape[1])[columns], rows)
        fitted, _, rank, _ = np.linalg.lstsq(seeds, residuals, rcond=None)
        residuals = residuals - seeds @ fitted
        df -= int(rank)
    if df < 1 or _unequal(np.split(residuals, np.flatnonzero(np.diff(rows)) + 1)):
        return None
    variance = float(residuals @ residuals) / df
    return SeedNoise(variance * (2 if paired else 1), df)


def own_seed_noise(values_RE: Real) -> SeedNoise | None:
    """Return the seed noise of these R seeds alone, None with one seed."""
    means_R = values_RE.mean(axis=1)
    if len(means_R) < 2:
        return None
    return SeedNoise(float(means_R.var(ddof=1)), len(means_R) - 1)


def _centred(values_NK: Real, groups: NDArray[np.intp]) -> Real:
    """Return the columns less the means of their groups, which are numbers in ascending order."""
    _, starts, numbers, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    means = np.add.reduceat(values_NK, starts, axis=0) / sizes[:, None]
    return np.asarray(values_NK - means[numbers])


def _unequal(groups: Sequence[Real]) -> bool:
    groups = [group for group in groups if len(group) > 1 and np.ptp(group) > 0]
    return len(groups) > 1 and bool(stats.bartlett(*groups).pvalue < _UNEQUAL)
