"""How a metric grows with training data: a power law with its interval.

The law is fitted to the shortfall: 1 - metric, or the loss itself. The shortfall falls as
`a n^-b + c`; no amount of data removes the floor c (Hestness et al. 2017, arXiv 1712.00409). The
simplest law that the numbers do not reject is taken: c is 0 unless the fit fails without it. But a
few sizes that do not reject c = 0 do not show it either, and whether more data helps depends on it.
So intervals include laws with and without a floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.comparison import Comparisons
from tune_distill.analysis.statistics.pairs import shared
from tune_distill.spec.metrics import METRICS

Real = NDArray[np.float64]
Conclusion = Literal["more data helps", "has saturated", "cannot tell"]

SMALL_GAIN = 0.01
"""The smallest gain from doubling the data that counts: one point, or 1 % of a loss."""

MIN_SIZES = 3

LARGEST_EXPONENT = 5.0
"""The largest exponent that is tried; an interval that ends there is open."""

_NUM_REFITS = 1000
_REJECTED = 0.05
_TAIL = 0.025


@dataclass(frozen=True)
class PowerLaw:
    """`shortfall(n) = scale * (n / unit) ** -exponent + floor`."""

    scale: float
    exponent: float
    floor: float
    unit: float

    def shortfall(self, num_train: Real | float) -> Real:
        """Return the shortfall at these sizes."""
        sizes = np.asarray(num_train, np.float64)
        return self.scale * (sizes / self.unit) ** -self.exponent + self.floor


@dataclass(frozen=True)
class Scaling:
    """A study's law, and what it says about more data.

    Pairs are 95 % intervals that include laws with a floor and, if one fits, laws without.
    `curve` maps sizes to the metric and its interval: (n, value, low, high). `gain` is the metric's
    improvement if the largest size is doubled, positive for the better. `fit_p_value` tests the law
    against the means; None if it passes through all.
    """

    metric: str
    law: PowerLaw
    exponent: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    conclusion: Conclusion
    fit_p_value: float | None
    curve: tuple[tuple[float, float, float, float], ...]


def fit_power_law(sizes: Real, shortfalls: Real, covariance: Real) -> tuple[PowerLaw, float | None]:
    """Return the law through k >= 3 means with this covariance (k, k), and the p-value of its fit.

    By generalised least squares: settings answer the same examples, so their errors correlate.
    """
    unit = float(np.max(sizes))
    relative = np.asarray(sizes, np.float64) / unit
    _, whiten = _roots(covariance)
    [without] = _fits(relative, shortfalls[None], whiten, floored=False)
    misfit = _misfit(without, relative, shortfalls, whiten)
    p_value = float(stats.chi2.sf(misfit, len(sizes) - 2))
    if p_value >= _REJECTED:
        return _law(without, unit), p_value
    [floored] = _fits(relative, shortfalls[None], whiten, floored=True)
    if floored[2] == 0:
        # A floor does not help, so no power law fits.
        return _law(without, unit), p_value
    df = len(sizes) - 3
    misfit = _misfit(floored, relative, shortfalls, whiten)
    return _law(floored, unit), float(stats.chi2.sf(misfit, df)) if df else None


def scaling(results: StudyResults, found: Comparisons) -> Scaling | None:
    """Return the law of the study's metric, None if fewer than three sizes were measured."""
    metric = results.study.metric.name
    levels = found.levels.get(metric, {})
    complete = results.complete
    sizes_by_setting = complete.groupby("setting")["num_train"].mean()
    settings = [setting for setting in levels if setting in sizes_by_setting.index]
    if len({sizes_by_setting[setting] for setting in settings}) < MIN_SIZES:
        return None
    sizes = np.array([sizes_by_setting[setting] for setting in settings])
    values = np.array([levels[setting].value for setting in settings])
    covariance = _covariance(results, metric, settings)
    for row, setting in enumerate(settings):
        level = levels[setting]
        # Few seeds estimate their variance badly; other intervals are widened in the same way.
        wider = stats.t.isf(_TAIL, level.df) / stats.norm.isf(_TAIL)
        covariance[row, row] += (level.parts.seed or 0.0) / level.num_seeds * wider**2
    return _scaling(metric, sizes, values, covariance)


def _covariance(results: StudyResults, metric: str, settings: Sequence[int]) -> Real:
    """Return the covariance (K, K) of the settings' means, which share some or all examples."""
    deviations_KE = np.zeros((len(settings), len(results.scores.example_ids)))
    for row, setting in enumerate(settings):
        own = shared(results, metric, setting)
        assert own is not None
        means_E, count = own.values_RE.mean(axis=0), len(own.examples)
        deviations = (means_E - means_E.mean()) / np.sqrt(count * max(1, count - 1))
        deviations_KE[row, own.examples] = deviations
    return np.asarray(deviations_KE @ deviations_KE.T)


def _law(parameters: Real, unit: float) -> PowerLaw:
    scale, exponent, floor = (float(value) for value in parameters)
    return PowerLaw(scale, exponent, floor, unit)


def _scaling(metric: str, sizes: Real, values: Real, covariance: Real) -> Scaling:
    shortfalls = _shortfall(metric, values)
    law, p_value = fit_power_law(sizes, shortfalls, covariance)
    root, whiten = _roots(covariance)
    errors_BK = np.random.default_rng(0).standard_normal((_NUM_REFITS, len(sizes))) @ root.T
    # Refits (L, B, 3) of each law that the numbers allow.
    refits = np.stack(
        [
            _fits(sizes / law.unit, shortfalls + errors_BK, whiten, floored=floored)
            for floored in ([True, False] if law.floor == 0 and p_value is not None else [True])
        ]
    )
    scales, exponents, floors = np.moveaxis(refits, -1, 0)
    relative = np.geomspace(float(sizes.min()) / law.unit, 2.0, 49)
    curves = scales[..., None] * relative ** -exponents[..., None] + floors[..., None]
    ends = _interval(curves)
    center = law.shortfall(relative * law.unit)
    gain = float(law.shortfall(law.unit) - law.shortfall(2 * law.unit))
    interval = _pair(_interval(scales * (1 - 2.0**-exponents)))
    margin = SMALL_GAIN * (
        float(law.shortfall(law.unit)) if METRICS[metric].lower_is_better else 1.0
    )
    low, high = _ends(metric, ends[0], ends[1])
    return Scaling(
        metric=metric,
        law=law,
        exponent=_pair(_interval(exponents)),
        gain=gain,
        gain_interval=interval,
        conclusion=conclude(interval, margin) if _fits_well(law, p_value) else "cannot tell",
        fit_p_value=p_value,
        curve=tuple(
            zip(
                (relative * law.unit).tolist(),
                _shortfall(metric, center).tolist(),
                low.tolist(),
                high.tolist(),
                strict=True,
            )
        ),
    )


def _fits_well(law: PowerLaw, p_value: float | None) -> bool:
    """Return whether the means follow the law; a metric that falls with the data follows none."""
    return law.scale > 0 and (p_value is None or p_value >= _REJECTED)


def conclude(gain_interval: tuple[float, float], margin: float) -> Conclusion:
    """Return what the interval of the gain says, if less than `margin` counts as nothing."""
    low, high = gain_interval
    if high < margin:
        return "has saturated"
    return "more data helps" if low >= margin else "cannot tell"


def _ends(metric: str, low: Real, high: Real) -> tuple[Real, Real]:
    """Return the ends of the shortfall as ends of the metric, the lower one first."""
    if METRICS[metric].lower_is_better:
        return low, high
    return 1 - high, 1 - low


def _shortfall(metric: str, values: Real) -> Real:
    """Convert the metric to its shortfall, or back."""
    return values if METRICS[metric].lower_is_better else 1 - values


def _interval(values_LB: Real) -> Real:
    """Return the outermost ends (2, ...) of the intervals of each law's refits (L, B, ...)."""
    low, high = np.quantile(values_LB, [_TAIL, 1 - _TAIL], axis=1)
    return np.stack([low.min(axis=0), high.max(axis=0)])


def _pair(ends: Real) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])


def _roots(covariance: Real) -> tuple[Real, Real]:
    """Return a matrix that gives independent unit errors this covariance, and its inverse."""
    count = len(covariance)
    # The covariance is singular if settings answer every example alike.
    ridge = max(float(np.trace(covariance)) / count * 1e-6, 1e-12)
    root = np.linalg.cholesky(covariance + ridge * np.eye(count))
    return np.asarray(root), np.asarray(np.linalg.inv(root))


def _misfit(parameters: Real, relative: Real, shortfalls: Real, whiten: Real) -> float:
    scale, exponent, floor = parameters
    rest = whiten @ (shortfalls - scale * relative**-exponent - floor)
    return float(rest @ rest)


def _fits(relative: Real, shortfalls_BK: Real, whiten: Real, *, floored: bool) -> Real:
    """Return scale, exponent and floor (B, 3) of the law through each row of k shortfalls.

    For a given exponent the rest is linear, so only the exponent is searched, in ever finer steps.
    """
    targets_BK = shortfalls_BK @ whiten.T
    low = np.zeros(len(targets_BK))
    high = np.full(len(targets_BK), LARGEST_EXPONENT)
    steps = np.linspace(0, 1, 41)
    for _ in range(5):
        exponents_BG = low[:, None] + (high - low)[:, None] * steps
        losses_BG, _, _ = _linear(exponents_BG, relative, targets_BK, whiten, floored)
        best = losses_BG.argmin(axis=1)
        rows = np.arange(len(best))
        low = exponents_BG[rows, np.maximum(best - 1, 0)]
        high = exponents_BG[rows, np.minimum(best + 1, len(steps) - 1)]
    exponents_B1 = exponents_BG[rows, best][:, None]
    _, scales, floors = _linear(exponents_B1, relative, targets_BK, whiten, floored)
    return np.hstack([scales, exponents_B1, floors])


def _linear(
    exponents_BG: Real, relative: Real, targets_BK: Real, whiten: Real, floored: bool
) -> tuple[Real, Real, Real]:
    """Return loss, scale and floor (B, G each) at these exponents; scale and floor are >= 0."""
    basis_BGK = (relative ** -exponents_BG[..., None]) @ whiten.T
    ones_K = whiten @ np.ones(len(relative))
    uu = (basis_BGK**2).sum(-1)
    uy = (basis_BGK * targets_BK[:, None]).sum(-1)
    yy = (targets_BK**2).sum(-1)[:, None]
    scales = np.maximum(0, uy / uu)
    floors = np.zeros_like(scales)
    losses = yy - 2 * scales * uy + scales**2 * uu
    if not floored:
        return losses, scales, floors
    uo, oo = basis_BGK @ ones_K, float(ones_K @ ones_K)
    oy = (targets_BK @ ones_K)[:, None]
    determinant = uu * oo - uo**2
    # If all sizes count alike, as at exponent 0, scale and floor cannot be told apart.
    solvable = determinant > 1e-12 * uu * oo
    determinant = np.where(solvable, determinant, 1.0)
    free_scales = (uy * oo - oy * uo) / determinant
    free_floors = (oy * uu - uy * uo) / determinant
    inside = solvable & (free_scales >= 0) & (free_floors >= 0)
    rest = yy - free_scales * uy - free_floors * oy
    return (
        np.where(inside, rest, losses),
        np.where(inside, free_scales, scales),
        np.where(inside, free_floors, floors),
    )
