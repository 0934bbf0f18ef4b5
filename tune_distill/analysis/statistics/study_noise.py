"""The seed noise of a study's settings, from all of its complete trials.

Settings that train students of their own are independent of each other, although a seed orders
their batches in the same way. Settings that decode the same students move together with the
student's seed, which does not matter for their difference. So for these, what a seed does to all
settings is subtracted first (two-way analysis of variance).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.pairs import same_runs, shared
from tune_distill.analysis.statistics.seed_noise import (
    Observed,
    SeedNoise,
    SeedVariance,
    observed_noise,
)

# One trial shows no variance between seeds; other settings may.
_UNSEEN = Observed(0.0, 0.0, 0.0)


class StudyNoise:
    """The variances between seeds by metric and setting; None where no two seeds show one."""

    def __init__(self, results: StudyResults) -> None:
        self._results = results
        self._independent = cache(self._of_own_runs)
        self._together = cache(self._of_shared_runs)

    def of(self, metric: str, setting: int) -> SeedVariance | None:
        """Return the variance of a setting's seeds."""
        noise = self._independent(metric)
        return None if noise is None else noise.of(setting)

    def of_difference(self, metric: str, setting: int, reference: int) -> SeedVariance | None:
        """Return the variance of a seed's difference of two settings."""
        if same_runs(self._results, setting, reference):
            noise = self._together(metric, reference)
        else:
            noise = self._independent(metric)
        return None if noise is None else noise.of_difference(setting, reference)

    def _of_own_runs(self, metric: str) -> SeedNoise | None:
        observed = {}
        for setting in self._results.measured():
            if (own := shared(self._results, metric, setting)) is not None:
                observed[setting] = observed_noise(own.values_RE) or _UNSEEN
        return _noise(observed)

    def _of_shared_runs(self, metric: str, reference: int) -> SeedNoise | None:
        """Return the noise of the reference and of all settings with its runs."""
        means: dict[int, dict[int, float]] = {}
        noise: dict[int, float] = {}
        for setting in self._results.measured():
            own = shared(self._results, metric, setting)
            if own is not None and same_runs(self._results, setting, reference):
                seeds = {row: seed for seed, row in self._results.trials_of(setting).items()}
                values = zip(own.ours, own.values_RE.mean(axis=1), strict=True)
                means[setting] = {seeds[row]: float(mean) for row, mean in values}
                noise[setting] = (observed_noise(own.values_RE) or _UNSEEN).noise
        several = {setting: by_seed for setting, by_seed in means.items() if len(by_seed) > 1}
        common = sorted(set.intersection(*map(set, several.values()))) if several else []
        count = len(several)
        if len(common) < 2 or count < 2:
            return None
        means_SR = np.array([[by_seed[seed] for seed in common] for by_seed in several.values()])
        rest_SR = means_SR - means_SR.mean(0) - means_SR.mean(1, keepdims=True) + means_SR.mean()
        # The seeds' levels take their part of the degrees of freedom from each setting.
        df = (len(common) - 1) * (count - 1) / count
        sums_S = (rest_SR**2).sum(axis=1)
        observed = dict.fromkeys(means, _UNSEEN) | {
            setting: Observed(float(total) / df, df, noise[setting])
            for setting, total in zip(several, sums_S, strict=True)
        }
        return _noise(observed)


def _noise(observed: dict[int, Observed]) -> SeedNoise | None:
    return SeedNoise(observed) if any(one.df for one in observed.values()) else None
