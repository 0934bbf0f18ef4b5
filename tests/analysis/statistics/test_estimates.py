import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tune_distill.analysis.statistics.estimates import (
    DIFFERENCE_OF_SHARES,
    SHARE,
    estimate,
)
from tune_distill.analysis.statistics.seed_noise import SeedNoise, SeedVariance, observed_noise


def own(values_RE):
    """Return what the values alone say about the variance between seeds."""
    observed = observed_noise(values_RE)
    return None if observed is None else SeedNoise({0: observed}).of(0)


def known(variance):
    return SeedVariance(np.array([variance]), np.ones(1))


def two_way(rng, num_seeds, num_examples, seed_sd, example_sd, noise_sd, mean=0.3):
    return (
        mean
        + rng.normal(0, seed_sd, (num_seeds, 1))
        + rng.normal(0, example_sd, (1, num_examples))
        + rng.normal(0, noise_sd, (num_seeds, num_examples))
    )


def answer_sheets(seed, num_examples):
    """Return right and wrong answers of two students to the same examples."""
    rng = np.random.default_rng(seed)
    hard = rng.random(num_examples)
    return tuple(
        (rng.random(num_examples) < np.clip(share + 0.4 - hard * 0.8, 0, 1)).astype(float)
        for share in (0.7, 0.64)
    )


@pytest.mark.parametrize("num_examples", [5, 40, 300])
@pytest.mark.parametrize("seed", range(5))
def test_one_seed_is_the_paired_t_test(seed, num_examples):
    first, second = answer_sheets(seed, num_examples)
    first = first + np.random.default_rng(seed).normal(0, 0.5, num_examples)
    found, expected = estimate((first - second)[None], None), stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.standard_error == pytest.approx(stats.sem(first - second), rel=1e-12)
    assert found.df == pytest.approx(num_examples - 1)


@pytest.mark.parametrize(("num_seeds", "num_examples"), [(1, 40), (1, 400), (3, 200)])
def test_a_difference_is_significant_where_its_interval_excludes_zero(num_seeds, num_examples):
    decided = {True: 0, False: 0}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        mean = 4 * rng.random() * np.sqrt(0.05**2 / num_seeds + 0.18 / num_examples)
        values = two_way(rng, num_seeds, num_examples, 0.05, 0.3, 0.3, mean=mean)
        found = estimate(values, own(values))
        excluded = not found.low <= 0 <= found.high
        decided[excluded] += 1
        assert (found.p_value < 0.05) == excluded
    assert min(decided.values()) >= 20


def test_a_mean_of_zero_is_no_difference():
    assert estimate(np.array([[-1.0, 1.0, 0.5, -0.5]]), None).p_value == 1


@pytest.mark.parametrize("seed", range(4))
def test_one_seed_has_the_interval_of_scipys_bootstrap(seed):
    num_examples = 400
    first, second = answer_sheets(seed, num_examples)
    found = estimate((first - second)[None], None)
    expected = stats.bootstrap(
        (first, second),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(100 + seed),
    ).confidence_interval
    # The Monte-Carlo error of a 2.5 % quantile is sqrt(q (1 - q) / B) over the density there.
    # Resamples' means are multiples of one answer, so half an answer is added.
    tail = 0.025
    density = stats.norm.pdf(stats.norm.ppf(tail)) / found.standard_error
    tolerance = 4 * np.sqrt(tail * (1 - tail) / 40_000) / density + 0.5 / num_examples
    assert found.low == pytest.approx(expected.low, abs=tolerance)
    assert found.high == pytest.approx(expected.high, abs=tolerance)


@pytest.mark.parametrize(("right", "num_examples"), [(1, 20), (97, 100), (140, 200), (499, 500)])
def test_one_seed_of_a_share_has_wilsons_interval(right, num_examples):
    answers = np.arange(num_examples) < right
    found = estimate(answers[None].astype(float), None, SHARE)
    # Wilson's interval with Student's quantile, and with the unbiased variance, which is that of
    # one example less.
    alpha = 2 * stats.norm.sf(stats.t.isf(0.025, num_examples - 1))
    expected = proportion_confint(
        answers.mean() * (num_examples - 1), num_examples - 1, alpha, method="wilson"
    )
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("num_examples", "least"), [(50, 0.945), (100, 0.945), (500, 0.945)])
def test_intervals_of_shares_near_one_hold_the_truth(num_examples, least):
    """Student's intervals, cut at 1, contain the truth less often."""
    found = [
        estimate((np.arange(num_examples) < right)[None].astype(float), None, SHARE)
        for right in range(num_examples + 1)
    ]
    held = []
    for truth in np.linspace(0.9, 0.98, 81):
        chances = stats.binom.pmf(np.arange(num_examples + 1), num_examples, truth)
        held.append(chances @ [one.low <= truth <= one.high for one in found])
    assert least <= np.mean(held) <= 0.975


def test_seeds_widen_the_interval_of_a_share_on_both_sides():
    values = (np.arange(200) < 190)[None].astype(float)
    alone = estimate(values, None, SHARE)
    found = estimate(values, known(0.02**2), SHARE)
    seeds = stats.norm.isf(0.025) * 0.02
    reach = np.hypot(alone.value - alone.low, seeds)
    assert found.value - found.low == pytest.approx(reach, rel=0.01)
    assert alone.high < found.high == pytest.approx(0.95 + np.hypot(alone.high - 0.95, seeds), 1e-3)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.2, 1.0]), min_size=3, max_size=3), min_size=1),
    st.floats(0, 0.2),
)
def test_the_interval_of_a_share_is_in_its_range(values_ER, variance):
    found = estimate(np.array(values_ER).T, known(variance), SHARE)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_parts_recover_planted_variances():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(150):
        parts = estimate(two_way(rng, 6, 60, 0.1, 0.3, 0.5), None).parts
        found.append([parts.example, parts.noise])
    assert np.mean(found, axis=0) == pytest.approx([0.09, 0.25], rel=0.12)


def test_the_parts_add_up_to_the_standard_error():
    values = two_way(np.random.default_rng(6), 5, 80, 0.2, 0.3, 0.5)
    found = estimate(values, known(0.04))
    assert found.parts.variance(5, 80) == pytest.approx(found.standard_error**2, rel=1e-9)
    # The variance of a mean of crossed values, from the mean squares (Searle et al. 1992), with the
    # seeds' variance given.
    between_examples = 5 * np.var(values.mean(axis=0), ddof=1)
    expected = 0.04 / 5 + between_examples / (5 * 80)
    assert found.standard_error**2 == pytest.approx(expected, rel=1e-6)
    assert found.df == pytest.approx(79, rel=0.02)
    # More seeds and more examples each reduce the variance.
    assert found.parts.variance(10, 80) < found.parts.variance(5, 80)
    assert found.parts.variance(5, 160) < found.parts.variance(5, 80)


@pytest.mark.parametrize("df", [2, 4, 30])
def test_a_scaled_inverse_chi_squared_variance_is_students_t(df):
    """Then error and degrees of freedom are those of the t-test."""
    chances = (np.arange(4000) + 0.5) / 4000
    seeds = SeedVariance(df / stats.chi2.ppf(chances, df), np.full(4000, 1 / 4000))
    found = estimate(np.repeat([[0.1], [0.3], [0.2]], 10, axis=1), seeds)
    expected = stats.t.interval(0.95, df, 0.2, np.sqrt(1 / 3))
    # The values do not depend on the examples, so the error is that of few of them too.
    assert (found.low, found.high) == pytest.approx(expected, rel=0.2)
    assert found.standard_error == pytest.approx(np.sqrt(1 / 3), rel=0.12)


@pytest.mark.parametrize("num_seeds", [2, 3, 6])
def test_where_seeds_are_all_the_noise_it_is_their_t_test(num_seeds):
    seeds = np.random.default_rng(1).normal(0.1, 0.1, num_seeds)
    values = np.repeat(seeds[:, None], 500, axis=1)
    found = estimate(values, own(values))
    expected = stats.ttest_1samp(seeds, 0)
    interval = expected.confidence_interval(0.95)
    # The grid of variances is finite, which two seeds show.
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=0.03)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.05)
    assert found.df == pytest.approx(num_seeds - 1, rel=0.1)


def test_answers_that_balance_each_other_are_not_surer_than_noise():
    # Each example is 1 for one seed and 0 for the other, so means over seeds do not vary.
    values = np.array([[1.0, 0.0] * 20, [0.0, 1.0] * 20])
    found = estimate(values, own(values))
    residual = 2 * 40 * 0.25 / 39
    assert found.standard_error == pytest.approx(np.sqrt(residual / 80))
    assert found.parts.example == 0


def test_one_seed_uses_the_noise_that_other_settings_show():
    rng = np.random.default_rng(7)
    values = two_way(rng, 1, 200, 0, 0, 0.3)
    alone = estimate(values, None)
    # Means of the other seeds vary by far more than the examples explain.
    found = estimate(values, own(two_way(rng, 9, 200, 0.1, 0, 0.3)))
    assert found.standard_error == pytest.approx(0.1, rel=0.4)
    assert found.df < 20
    assert found.high - found.low > 3 * (alone.high - alone.low)
    assert alone.parts.seed is None


def test_few_seeds_cannot_rule_seed_noise_out():
    # Both seeds have the same mean, which the noise of the examples shows to be chance.
    rng = np.random.default_rng(8)
    values = two_way(rng, 2, 100, 0, 0.1, 0.5)
    values += 0.05 - values.mean(axis=1, keepdims=True) + [[-0.01], [0.01]]
    found, sure = estimate(values, own(values)), estimate(values, known(0.0))
    assert found.df < 5
    assert found.high - found.low > 1.2 * (sure.high - sure.low)
    alike = two_way(rng, 12, 100, 0, 0.1, 0.5)
    alike += 0.05 - alike.mean(axis=1, keepdims=True) + 0.03 * rng.normal(size=(12, 1))
    found, sure = estimate(alike, own(alike)), estimate(alike, known(0.0))
    assert found.high - found.low < 1.2 * (sure.high - sure.low)


@pytest.mark.parametrize(("num_seeds", "num_examples"), [(1, 20), (3, 200), (5, 1000)])
def test_no_variance_has_the_interval_of_no_event(num_seeds, num_examples):
    values = np.zeros((num_seeds, num_examples))
    found = estimate(values, own(values), DIFFERENCE_OF_SHARES)
    margin = stats.binomtest(0, num_examples).proportion_ci(0.95).high
    assert (found.low, found.high) == (pytest.approx(-margin), pytest.approx(margin))
    assert found.p_value == 1
    # A loss has no bounds, so nothing is known of its interval.
    found = estimate(values + 0.5, None)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("variance", [1e-12, 1e-6, 1e-4])
@pytest.mark.parametrize(("bounds", "value"), [(DIFFERENCE_OF_SHARES, 0.0), (SHARE, 1.0)])
def test_other_settings_seed_noise_only_widens_the_interval_of_no_event(variance, bounds, value):
    values = np.full((3, 50), value)
    alone = estimate(values, None, bounds)
    found = estimate(values, known(variance), bounds)
    assert found.high - found.low >= alone.high - alone.low > 0.05


@pytest.mark.parametrize(("num_examples", "p_value"), [(1, 1.0), (3, 0.25), (6, 0.03125)])
def test_values_that_are_all_the_same_are_as_sure_as_their_signs(num_examples, p_value):
    found = estimate(np.full((1, num_examples), -1.0), None, DIFFERENCE_OF_SHARES)
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
        found = estimate(values, own(values))
        covered.append(found.low <= 0.3 <= found.high)
    # Intervals of few seeds are wide; 0.93 is 95 % less two standard errors of 500 studies.
    assert np.mean(covered) >= 0.93
