"""The hierarchical model of seed noise: its limits, and what settings tell of each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from statsmodels.formula.api import ols

from tests.analysis.statistics.variances import median
from tune_distill.analysis.statistics.seed_noise import (
    Observed,
    SeedNoise,
    SeedVariance,
    observed_noise,
    residual_variance,
)


def exceeded(found: SeedVariance, value: float) -> float:
    """Return the probability that the variance exceeds a value."""
    return float(found.weights_M[found.values_M > value].sum())


@pytest.mark.parametrize("df", [2, 4, 9])
@pytest.mark.parametrize("limit", [0.5, 1.0, 3.0])
def test_one_setting_alone_has_the_inverse_chi_squared_variance(df: int, limit: float) -> None:
    """With the prior 1 / v, a variance v is the sum of squares over a chi-squared variable."""
    found = SeedNoise({0: Observed(2.0, df, 0.0)}).of(0)
    expected = stats.chi2.cdf(df / limit, df)
    assert exceeded(found, 2.0 * limit) == pytest.approx(expected, abs=0.06)


def test_many_settings_that_are_alike_tell_each_others_variance() -> None:
    rng = np.random.default_rng(0)
    variances = rng.chisquare(4, 60) / 4
    noise = SeedNoise({n: Observed(v, 4, 0.0) for n, v in enumerate(variances)})
    quiet, loud = int(np.argmin(variances)), int(np.argsort(variances)[45])
    assert variances[quiet] < 0.1
    assert variances[loud] > 1.2
    for setting in (quiet, loud):
        assert 0.8 < median(noise.of(setting)) < 1.5


def test_a_setting_whose_seeds_clearly_vary_more_has_a_variance_of_its_own() -> None:
    observed = {n: Observed(1.0, 4, 0.0) for n in range(8)} | {8: Observed(12.0, 4, 0.0)}
    noise = SeedNoise(observed)
    assert 6 < median(noise.of(8)) < 20
    assert median(noise.of(0)) < 1.5
    # A difference has the variances of both.
    assert median(noise.of_difference(8, 0)) == pytest.approx(
        median(noise.of(8)) + median(noise.of(0)), rel=0.25
    )


def test_an_unseen_setting_is_taken_as_typical_but_less_surely() -> None:
    observed = {n: Observed(1.0, 4, 0.0) for n in range(8)} | {8: Observed(0.0, 0, 0.0)}
    noise = SeedNoise(observed)
    assert 0.8 < median(noise.of(8)) < 1.3
    assert exceeded(noise.of(8), 5.0) == pytest.approx(0.2, abs=0.03)
    assert exceeded(noise.of(0), 5.0) < 0.05


def test_what_answers_alone_explain_is_no_noise_of_seeds() -> None:
    """Of a variance of 1, the noise of single answers explains all, or nothing."""
    explained = SeedNoise({n: Observed(1.0, 8, 1.0) for n in range(5)}).of(0)
    own = SeedNoise({n: Observed(1.0, 8, 0.0) for n in range(5)}).of(0)
    assert median(explained) < 0.2
    assert median(own) > 0.8


def test_seeds_that_agree_exactly_have_no_variance() -> None:
    found = SeedNoise({0: Observed(0.0, 2, 0.0), 1: Observed(0.0, 2, 0.1)}).of_difference(0, 1)
    assert (found.values_M.tolist(), found.weights_M.tolist()) == ([0.0], [1.0])


def test_the_posterior_is_that_of_numerical_integration() -> None:
    """Two settings with the factors 1, 3, 9 and 27, integrated over the typical variance."""
    observed = {0: Observed(1.0, 2, 0.2), 1: Observed(6.0, 2, 0.1)}
    factors, prior = (1.0, 3.0, 9.0, 27.0), (0.7, 0.1, 0.1, 0.1)

    def likelihood(one: Observed, typical: float, factor: float) -> float:
        expected = typical * factor + one.noise
        return float(stats.chi2.pdf(one.df * one.variance / expected, one.df) / expected)

    def density(log_typical: float, limit: float) -> float:
        typical = np.exp(log_typical)
        both = 1.0
        for number, one in observed.items():
            both *= sum(
                weight * likelihood(one, typical, factor)
                for factor, weight in zip(factors, prior, strict=True)
                if number == 0 or typical * factor > limit
            )
        return both * typical / (typical + 0.15)

    ends = np.log(1e-3 * 3.5), np.log(1e4 * 3.5)
    whole = quad(density, *ends, args=(0.0,), limit=500)[0]
    for limit in (2.0, 6.0, 20.0):
        above = quad(density, *ends, args=(limit,), limit=500)[0] / whole
        assert exceeded(SeedNoise(observed).of(1), limit) == pytest.approx(above, abs=0.05)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0.5, 9), st.floats(0, 1)), min_size=1, max_size=6
    )
)
def test_weights_sum_to_one_and_values_are_finite(rows: list[tuple[float, float, float]]) -> None:
    noise = SeedNoise({number: Observed(*row) for number, row in enumerate(rows)})
    for found in (noise.of(0), noise.of_difference(0, len(rows) - 1)):
        assert found.weights_M.sum() == pytest.approx(1)
        assert np.isfinite(found.values_M).all()
        assert (found.values_M >= 0).all()
        assert (found.weights_M > 0).all()


@pytest.mark.parametrize("shape", [(2, 5), (3, 40), (6, 8)])
def test_observed_noise_is_the_analysis_of_variance(shape: tuple[int, int]) -> None:
    values_RE = np.random.default_rng(3).normal(0.5, 0.2, shape)
    rows = [(str(r), str(e), y) for (r, e), y in np.ndenumerate(values_RE)]
    fit = ols("y ~ C(r) + C(e)", pd.DataFrame(rows, columns=["r", "e", "y"])).fit()
    assert residual_variance(values_RE) == pytest.approx(fit.mse_resid)
    found = observed_noise(values_RE)
    assert found is not None
    assert found.variance == pytest.approx(np.var(values_RE.mean(axis=1), ddof=1))
    assert (found.df, found.noise) == (shape[0] - 1, pytest.approx(fit.mse_resid / shape[1]))
    assert observed_noise(values_RE[:1]) is None
