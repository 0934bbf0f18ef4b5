import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.formula.api import ols

from tune_distill.analysis.statistics.seed_noise import own_seed_noise, pooled_seed_noise


def anova(means_SR, paired):
    """Return residual mean square and degrees of freedom from statsmodels."""
    rows = [
        {"setting": str(setting), "seed": str(seed), "y": value}
        for (setting, seed), value in np.ndenumerate(means_SR)
        if not np.isnan(value)
    ]
    formula = "y ~ C(setting) + C(seed)" if paired else "y ~ C(setting)"
    fit = ols(formula, pd.DataFrame(rows)).fit()
    return fit.mse_resid, fit.df_resid


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("missing", [(), ((0, 1),), ((0, 0), (2, 1), (3, 2))])
def test_pooled_noise_is_the_residual_of_the_analysis_of_variance(paired, missing):
    means_SR = np.random.default_rng(4).normal(0.7, 0.05, (4, 3))
    means_SR += np.array([0, 0.1, 0.2, 0.3])[:, None]
    for cell in missing:
        means_SR[cell] = np.nan
    noise = pooled_seed_noise(means_SR, paired)
    mean_square, df = anova(means_SR, paired)
    assert noise is not None
    assert noise.df == df
    assert noise.variance == pytest.approx(mean_square * (2 if paired else 1), rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 1000))
def test_pooled_noise_agrees_whatever_the_shape(num_settings, num_seeds, seed):
    means_SR = np.random.default_rng(seed).normal(0.5, 0.1, (num_settings, num_seeds))
    noise = pooled_seed_noise(means_SR, True)
    if noise is not None:
        mean_square, df = anova(means_SR, True)
        assert (noise.df, noise.variance) == (df, pytest.approx(2 * mean_square, rel=1e-9))


def test_what_a_seed_adds_to_every_setting_is_no_noise_of_a_difference():
    means_SR = np.array([[0.1], [0.5]]) + np.array([[0.0, 0.02, 0.05]])
    paired, single = pooled_seed_noise(means_SR, True), pooled_seed_noise(means_SR, False)
    assert paired is not None
    assert single is not None
    assert paired.variance == pytest.approx(0, abs=1e-20)
    assert single.variance == pytest.approx(np.var([0, 0.02, 0.05], ddof=1))


@pytest.mark.parametrize(
    "means_SR",
    [
        np.full((2, 3), np.nan),
        np.array([[0.5]]),
        np.array([[0.5], [0.6]]),
        # The settings share no seed.
        np.array([[0.5, np.nan], [np.nan, 0.6]]),
    ],
)
def test_nothing_to_pool(means_SR):
    assert pooled_seed_noise(means_SR, True) is None


def test_settings_that_clearly_differ_in_noise_are_not_pooled():
    rng = np.random.default_rng(0)
    means_SR = rng.normal(0, [[0.001], [0.001], [0.3]], (3, 8))
    assert pooled_seed_noise(means_SR, False) is None
    assert pooled_seed_noise(means_SR[:2], False) is not None


def test_own_noise_is_the_variance_of_the_seeds_means():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (4, 1)) + rng.normal(0, 0.3, (4, 30))
    noise = own_seed_noise(values)
    assert noise is not None
    assert noise.variance == pytest.approx(np.var(values.mean(axis=1), ddof=1))
    assert noise.df == 3
    assert own_seed_noise(values[:1]) is None
