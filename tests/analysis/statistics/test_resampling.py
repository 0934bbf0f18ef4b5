import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols

from tune_distill.analysis.statistics import resampling
from tune_distill.analysis.statistics.resampling import (
    NUM_RESAMPLES,
    estimate,
    own_seed_noise,
    pooled_seed_noise,
    resampled_means,
)


def estimated(values_RE, noise=None, *, bounded=False):
    """The estimate from the values' own resamples."""
    num_examples = values_RE.shape[1]
    [means_B] = resampled_means([(np.arange(num_examples), values_RE.mean(axis=0))], num_examples)
    return estimate(values_RE, noise, means_B, bounded=bounded)


def two_way(rng, num_seeds, num_examples, seed_sd, example_sd, noise_sd, mean=0.3):
    return (
        mean
        + rng.normal(0, seed_sd, (num_seeds, 1))
        + rng.normal(0, example_sd, (1, num_examples))
        + rng.normal(0, noise_sd, (num_seeds, num_examples))
    )


def answer_sheets(seed, num_examples):
    """Right and wrong answers of two students to the same examples."""
    rng = np.random.default_rng(seed)
    hard = rng.random(num_examples)
    return tuple(
        (rng.random(num_examples) < np.clip(share + 0.4 - hard * 0.8, 0, 1)).astype(float)
        for share in (0.7, 0.64)
    )


def between_seldom_and_zero(values):
    """The estimate of one seed whose resamples all lie one standard error off, none beyond zero."""
    off = stats.sem(values) * np.resize([1.0, -1.0], NUM_RESAMPLES)
    return estimate(values[None], None, values.mean() + off, bounded=False)


def tolerated(values, p_value):
    """By how much a p-value from resamples may miss Student's.

    Five standard errors of the share beyond zero, doubled as both sides are; and what lies on zero
    itself, where values are whole numbers, which Student's has half of.
    """
    error = np.sqrt(p_value / 2 * (1 - p_value / 2) / NUM_RESAMPLES)
    on_zero = 0.0
    if (values == np.round(values)).all():
        step, spread = 1 / len(values), stats.sem(values)
        on_zero = step / spread * stats.norm.pdf(values.mean() / spread)
    return 10 * error + on_zero


@pytest.mark.parametrize("num_examples", [5, 40, 300])
@pytest.mark.parametrize("seed", range(5))
def test_one_seed_far_from_zero_is_the_paired_t_test(seed, num_examples):
    rng = np.random.default_rng(seed)
    first, second = rng.normal([[8 / np.sqrt(num_examples)], [0]], 0.5, (2, num_examples))
    found = estimated((first - second)[None])
    assert found.beyond is None
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-12)
    assert found.standard_error == pytest.approx(stats.sem(first - second), rel=1e-12)
    assert found.df == pytest.approx(num_examples - 1)


@pytest.mark.parametrize("num_examples", [5, 40, 300])
def test_one_seed_without_resamples_beyond_zero_is_the_paired_t_test(num_examples):
    tested = 0
    for seed in range(30):
        first, second = answer_sheets(seed, num_examples)
        if np.ptp(first - second) > 0 and abs(stats.ttest_rel(first, second).statistic) > 1.01:
            found = between_seldom_and_zero(first - second)
            assert found.beyond is None
            assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-12)
            tested += 1
    assert tested >= 5


@pytest.mark.parametrize("num_examples", [40, 100, 400])
@pytest.mark.parametrize("whole", [False, True])
def test_one_seed_is_near_the_paired_t_test(num_examples, whole):
    for seed in range(60):
        first, second = answer_sheets(seed, num_examples)
        if not whole:
            first = first + np.random.default_rng(seed).normal(0, 0.5, num_examples)
        found, expected = estimated((first - second)[None]), stats.ttest_rel(first, second).pvalue
        assert found.p_value == pytest.approx(expected, abs=tolerated(first - second, expected))


@pytest.mark.parametrize(("num_seeds", "num_examples"), [(1, 40), (1, 400), (3, 200)])
def test_a_difference_is_significant_where_its_interval_excludes_zero(num_seeds, num_examples):
    decided = {True: 0, False: 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        mean = 4 * rng.random() * np.sqrt(0.05**2 / num_seeds + 0.18 / num_examples)
        values = two_way(rng, num_seeds, num_examples, 0.05, 0.3, 0.3, mean=mean)
        found = estimated(values, own_seed_noise(values, True))
        excluded = not found.low <= 0 <= found.high
        decided[excluded] += 1
        # One goes by a quantile of the resamples, the other by their share: at the very threshold
        # a resample more or less parts the two.
        if not 0.049 <= found.p_value <= 0.051:
            assert (found.p_value < 0.05) == excluded
    assert min(decided.values()) >= 20


def with_beyond(count, sign=1.0):
    """Values with the mean 1 and the standard error 1, and so many resamples below zero.

    Those lie 2 below the mean, the rest 0.9 above it or a little more: 1 from it on average, so
    that nothing needs scaling.
    """
    above = np.sqrt((NUM_RESAMPLES - 4 * count) / (NUM_RESAMPLES - count))
    means = 1 + np.repeat([-2.0, above], [count, NUM_RESAMPLES - count])
    return estimate(sign * np.array([[0.0, 2.0]]), None, sign * means, bounded=False)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_beyond_by_hand(sign):
    found = with_beyond(100, sign)
    assert (found.value, found.standard_error, found.df) == pytest.approx((sign, 1, 1))
    assert found.beyond == 100 / 4000
    assert found.p_value == 2 * 100 / 4000


def test_too_few_beyond_zero_tell_nothing():
    assert with_beyond(20).beyond == 0.005
    assert with_beyond(19).beyond is None
    # The t-test at one standard error and one degree of freedom.
    assert with_beyond(19).p_value == pytest.approx(0.5, abs=1e-12)


def test_a_mean_of_zero_is_no_difference():
    found = estimated(np.array([[-1.0, 1.0, 0.5, -0.5]]))
    assert found.beyond == 0.5
    assert found.p_value == 1


def test_more_than_half_beyond_zero_is_no_difference():
    values = np.array([[0.0, 2.0]])
    found = estimate(values, None, np.resize([-9.0, -9.0, 1.5], NUM_RESAMPLES), bounded=False)
    assert found.beyond > 0.5
    assert found.p_value == 1


@pytest.mark.parametrize("seed", range(4))
def test_one_seed_has_the_interval_of_scipys_percentile_bootstrap(seed):
    num_examples = 400
    first, second = answer_sheets(seed, num_examples)
    found = estimated((first - second)[None])
    expected = stats.bootstrap(
        (first, second),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(100 + seed),
    ).confidence_interval
    # The Monte-Carlo error of a 2.5 % quantile: sqrt(q (1 - q) / B) over the density there. Both
    # have one; and ours is Student's, a hundredth wider at so many examples.
    tail = 0.025
    density = stats.norm.pdf(stats.norm.ppf(tail)) / found.standard_error
    error = np.sqrt(tail * (1 - tail) * (1 / NUM_RESAMPLES + 1 / 40_000)) / density
    tolerance = 4 * error + 0.01 * (expected.high - expected.low)
    assert found.low == pytest.approx(expected.low, abs=tolerance)
    assert found.high == pytest.approx(expected.high, abs=tolerance)


def test_skewed_values_have_a_skewed_interval():
    # What the percentile bootstrap is for: a normal interval would be symmetric.
    values = np.exp(np.random.default_rng(3).normal(0, 1.5, 60))[None]
    found = estimated(values)
    assert found.high - found.value > 1.2 * (found.value - found.low)


def test_all_columns_see_the_same_resamples():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 80))
    every = np.arange(80)
    one, other, difference = resampled_means(
        [(every, first), (every, second), (every.copy(), first - second)], 80
    )
    assert one.shape == (NUM_RESAMPLES,)
    assert one - other == pytest.approx(difference, abs=1e-12)
    # And the same as each of them sees alone.
    [alone] = resampled_means([(every, second)], 80)
    assert alone == pytest.approx(other, abs=1e-12)


def test_columns_of_some_examples_see_the_same_resamples():
    rng = np.random.default_rng(1)
    some, values = np.arange(10, 70), rng.random(60)
    inside, padded = np.zeros(80), np.zeros(80)
    inside[some], padded[some] = 1, values
    every = np.arange(80)
    means, shares, sums = resampled_means([(some, values), (every, inside), (every, padded)], 80)
    assert means == pytest.approx(sums / shares, abs=1e-12)


def test_a_resample_without_any_of_the_examples_has_no_mean():
    [means] = resampled_means([(np.array([7]), np.array([0.25]))], 50)
    absent = np.isnan(means).mean()
    expected = (1 - 1 / 50) ** 50
    assert absent == pytest.approx(expected, abs=4 * np.sqrt(expected / NUM_RESAMPLES))
    assert (means[~np.isnan(means)] == 0.25).all()
    # One example shared by three seeds still has an interval, from the seeds.
    values = np.array([[-0.1], [0.0], [0.4]])
    [means] = resampled_means([(np.array([7]), values.mean(axis=0))], 50)
    found = estimate(values, own_seed_noise(values, True), means, bounded=False)
    assert found.low < 0.1 < found.high
    assert (found.standard_error, found.df) == pytest.approx((stats.sem(values[:, 0]), 2))
    # Of the resamples that have a mean: three differences of two draws of a seed's deviation each.
    pool = values[:, 0] - 0.1
    every = np.array(list(itertools.product(pool, repeat=6))) @ np.repeat([1, -1], 3) / 3
    widened = stats.t.isf(0.025, 2) / stats.norm.isf(0.025) * found.standard_error
    beyond = np.mean(every / every.std() * widened <= -0.1)
    error = np.sqrt(beyond * (1 - beyond) / (NUM_RESAMPLES * (1 - expected)))
    assert found.beyond == pytest.approx(beyond, abs=4 * error)


def test_resamples_have_the_spread_of_the_mean():
    values = np.random.default_rng(2).normal(5, 2, 250)
    [means] = resampled_means([(np.arange(250), values)], 250)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / np.sqrt(250), rel=0.05)


@pytest.mark.parametrize("block", [1, 999, 250 * 7, 10**9])
def test_blocks_of_any_size_are_whole_resamples(monkeypatch, block):
    monkeypatch.setattr(resampling, "_BLOCK", block)
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 1000)
    values = np.random.default_rng(2).normal(5, 2, 250)
    ones, means = resampled_means([(np.arange(250), np.ones(250)), (np.arange(250), values)], 250)
    assert (ones == 1).all()
    assert means.shape == (1000,)
    assert len(set(means.tolist())) > 990
    assert means.std() == pytest.approx(values.std() / np.sqrt(250), rel=0.1)


def test_many_examples_are_taken_in_blocks(monkeypatch):
    counts = []
    weights = resampling._weights

    def counted(rng, count, num_examples):
        counts.append(count)
        return weights(rng, count, num_examples)

    monkeypatch.setattr(resampling, "_weights", counted)
    monkeypatch.setattr(resampling, "NUM_RESAMPLES", 25)
    [means] = resampled_means([(np.arange(200_000), np.ones(200_000))], 200_000)
    assert means == pytest.approx(np.ones(25), abs=1e-12)
    assert max(counts) * 200_000 <= resampling._BLOCK
    assert sum(counts) == 25


def test_the_same_seed_gives_the_same_interval():
    values = two_way(np.random.default_rng(0), 3, 90, 0.02, 0.3, 0.3)
    noise = own_seed_noise(values, True)
    assert estimated(values, noise) == estimated(values.copy(), noise)
    columns = [(np.arange(90), values.mean(axis=0))]
    [first], [second] = resampled_means(columns, 90, seed=1), resampled_means(columns, 90, seed=2)
    assert (first != second).any()


def anova(means_SR, paired):
    """Residual mean square and degrees of freedom by statsmodels."""
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
    assert noise.paired == paired


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
        # No seed of one is a seed of the other.
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
    values = two_way(np.random.default_rng(0), 4, 30, 0.1, 0.2, 0.3)
    noise = own_seed_noise(values, True)
    assert noise is not None
    assert noise.variance == pytest.approx(np.var(values.mean(axis=1), ddof=1))
    assert noise.df == 3
    assert own_seed_noise(values[:1], True) is None


def test_parts_recover_planted_variances():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(150):
        values = two_way(rng, 6, 60, 0.1, 0.3, 0.5)
        noise = own_seed_noise(values, True)
        parts = estimated_parts(values, noise)
        found.append([parts.seed, parts.example, parts.noise])
    # The variance of one seed's mean has 5 degrees of freedom; the mean of 150 is near the truth.
    assert np.mean(found, axis=0) == pytest.approx([0.01, 0.09, 0.25], rel=0.12)


def estimated_parts(values_RE, noise):
    return resampling._parts(values_RE, noise)[0]


def test_the_parts_add_up_to_the_standard_error():
    values = two_way(np.random.default_rng(6), 5, 80, 0.2, 0.3, 0.5)
    found = estimated(values, own_seed_noise(values, True))
    assert found.parts.variance(5, 80) == pytest.approx(found.standard_error**2, rel=1e-9)
    # The variance of a mean of crossed values, from the mean squares (Searle et al. 1992).
    between_seeds = 80 * np.var(values.mean(axis=1), ddof=1)
    between_examples = 5 * np.var(values.mean(axis=0), ddof=1)
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    residual = (rest**2).sum() / (4 * 79)
    expected = (between_seeds + between_examples - residual) / (5 * 80)
    assert found.standard_error**2 == pytest.approx(expected, rel=1e-9)
    # More seeds and more examples each make it smaller.
    assert found.parts.variance(10, 80) < found.parts.variance(5, 80)
    assert found.parts.variance(5, 160) < found.parts.variance(5, 80)


def test_where_seeds_are_all_the_noise_it_is_their_t_test():
    seeds = np.array([0.1, 0.25, 0.05, 0.3])
    values = np.repeat(seeds[:, None], 50, axis=1)
    found = estimated(values, own_seed_noise(values, True))
    assert found.p_value == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue, abs=0.01)
    assert found.df == pytest.approx(3)


def test_few_seeds_have_students_interval():
    seeds = np.random.default_rng(1).normal(0.1, 0.1, 6)
    values = np.repeat(seeds[:, None], 50, axis=1)
    found = estimated(values, own_seed_noise(values, True))
    expected = stats.ttest_1samp(seeds, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.1)


def test_answers_that_balance_each_other_are_not_surer_than_noise():
    # Each example is 1 for one seed and 0 for the other: means over seeds do not vary at all.
    values = np.array([[1.0, 0.0] * 20, [0.0, 1.0] * 20])
    found = estimated(values, own_seed_noise(values, True))
    residual = 2 * 40 * 0.25 / 39
    assert found.standard_error == pytest.approx(np.sqrt(residual / 80))
    assert found.parts.example == 0


def test_one_seed_uses_the_noise_that_other_settings_show():
    rng = np.random.default_rng(7)
    values = two_way(rng, 1, 200, 0, 0, 0.3)
    alone = estimated(values)
    # Other seeds' means vary by far more than the examples explain.
    noise = own_seed_noise(two_way(rng, 9, 200, 0.1, 0, 0.3), True)
    found = estimated(values, noise)
    assert found.standard_error == pytest.approx(np.sqrt(noise.variance), rel=1e-9)
    assert found.df == pytest.approx(8, rel=0.1)
    assert found.high - found.low > 3 * (alone.high - alone.low)
    assert alone.parts.seed is None


def test_few_seeds_cannot_rule_seed_noise_out():
    # By chance both seeds have one mean; the examples' own noise says that it is chance.
    rng = np.random.default_rng(8)
    values = two_way(rng, 2, 100, 0, 0.1, 0.5)
    values -= values.mean(axis=1, keepdims=True) - 0.05
    noise = own_seed_noise(values, True)
    assert noise.variance == pytest.approx(0, abs=1e-20)
    found = estimated(values, noise)
    assert found.parts.seed == 0
    assert found.df < 5
    alike = two_way(rng, 12, 100, 0, 0.1, 0.5)
    alike -= alike.mean(axis=1, keepdims=True) - 0.05
    assert estimated(alike, own_seed_noise(alike, True)).df > 50


@pytest.mark.parametrize(("num_seeds", "num_examples"), [(1, 20), (3, 200), (5, 1000)])
def test_no_variance_has_the_interval_of_no_event(num_seeds, num_examples):
    values = np.zeros((num_seeds, num_examples))
    found = estimated(values, own_seed_noise(values, True), bounded=True)
    margin = stats.binomtest(0, num_examples).proportion_ci(0.95).high
    assert (found.low, found.high) == (pytest.approx(-margin), pytest.approx(margin))
    assert found.p_value == 1
    # Of a loss nothing is known: its values have no bound.
    found = estimated(values + 0.5, bounded=False)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("num_examples", "p_value"), [(1, 1.0), (3, 0.25), (6, 0.03125)])
def test_values_that_are_all_the_same_are_as_sure_as_their_signs(num_examples, p_value):
    found = estimated(np.full((1, num_examples), -1.0), bounded=True)
    assert found.p_value == p_value == stats.binomtest(0, num_examples).pvalue


@pytest.mark.proof
@pytest.mark.parametrize(
    ("num_seeds", "seed_sd"), [(2, 0.0), (2, 0.05), (3, 0.0), (3, 0.05), (5, 0.02)]
)
def test_intervals_cover_planted_means(num_seeds, seed_sd):
    rng = np.random.default_rng(9)
    covered = []
    for _ in range(500):
        values = two_way(rng, num_seeds, 120, seed_sd, 0.2, 0.4)
        found = estimated(values, own_seed_noise(values, True))
        covered.append(found.low <= 0.3 <= found.high)
    # Few seeds are answered with caution; 0.93 is 95 % less two standard errors of 500 studies.
    assert np.mean(covered) >= 0.93
