from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from tune_distill.analysis.statistics.estimates import Estimate, Parts
from tune_distill.analysis.statistics.power import (
    MAX_EXAMPLES,
    examples_needed,
    seeds_needed,
    smallest_detectable,
)
from tune_distill.analysis.statistics.significance import ALPHA, POWER

ONE_SEED = Estimate(
    value=0.05,
    low=0.0,
    high=0.1,
    standard_error=np.sqrt(0.25 / 200),
    df=199,
    num_seeds=1,
    num_examples=200,
    parts=Parts(seed=None, example=0.25, noise=0.0),
)

THREE_SEEDS = replace(
    ONE_SEED,
    standard_error=np.sqrt(1e-4 / 3 + 0.1 / 200 + 0.15 / 600),
    df=30.0,
    num_seeds=3,
    parts=Parts(seed=1e-4, example=0.1, noise=0.15),
)


@pytest.mark.parametrize("num_comparisons", [1, 2, 5])
def test_one_comparison_has_the_power_of_the_t_test(num_comparisons):
    found = smallest_detectable(ONE_SEED, num_comparisons)
    # The oracle is a paired t-test of 200 differences with this effect, at Holm's first level.
    power = TTestPower().power(found / 0.5, nobs=200, alpha=ALPHA / num_comparisons)
    assert power == pytest.approx(POWER, abs=0.005)


def test_more_comparisons_need_a_larger_difference():
    sizes = [smallest_detectable(THREE_SEEDS, count) for count in (1, 2, 5, 20)]
    assert sizes == sorted(set(sizes))


def test_examples_needed_agrees_with_the_t_test():
    expected = TTestPower().solve_power(0.05 / 0.5, alpha=ALPHA, power=POWER)
    assert examples_needed(ONE_SEED, 1) == pytest.approx(expected, rel=0.01)


def variance(estimate, num_seeds, num_examples):
    return estimate.parts.variance(num_seeds, num_examples)


def test_examples_needed_is_the_first_number_that_shows_it():
    count = examples_needed(THREE_SEEDS, 2)
    gap = smallest_detectable(THREE_SEEDS, 2) / THREE_SEEDS.standard_error
    assert variance(THREE_SEEDS, 3, count) * gap**2 <= 0.05**2
    assert variance(THREE_SEEDS, 3, count - 1) * gap**2 > 0.05**2


def test_no_number_of_examples_outweighs_the_seeds():
    noisy = replace(THREE_SEEDS, parts=Parts(seed=0.01, example=0.02, noise=0.1))
    assert examples_needed(noisy, 2) is None
    assert seeds_needed(noisy, 2) is not None


def test_one_seed_cannot_say_how_many_seeds():
    assert seeds_needed(ONE_SEED, 2) is None


def test_seeds_needed_counts_the_degrees_of_freedom_they_bring():
    noisy = replace(THREE_SEEDS, value=0.08, parts=Parts(seed=0.01, example=0.02, noise=0.1))
    few, many = seeds_needed(replace(noisy, df=2.0), 2), seeds_needed(noisy, 2)
    assert few > many > 3

    def shows(count):
        t = stats.t(count - 1)
        gap = t.isf(ALPHA / 2 / 2) + t.ppf(POWER)
        return gap**2 * variance(noisy, count, 200) <= 0.08**2

    # Three seeds had two degrees of freedom, so `count` seeds have `count - 1`.
    assert few == next(count for count in range(3, 1000) if shows(count))


def test_where_nothing_varied_the_interval_says_what_could_be_seen():
    alike = replace(ONE_SEED, value=0.0, low=-0.018, high=0.018, standard_error=0.0, df=np.inf)
    assert smallest_detectable(alike, 3) == pytest.approx(0.018)


def test_no_difference_is_never_shown():
    nothing = replace(THREE_SEEDS, value=0.0)
    assert examples_needed(nothing, 2) is None
    assert seeds_needed(nothing, 2) is None


def test_a_difference_that_shows_already_needs_no_more():
    large = replace(THREE_SEEDS, value=0.5)
    assert examples_needed(large, 2) == 200
    assert seeds_needed(large, 2) == 3


@settings(max_examples=50)
@given(st.floats(0.001, 0.3), st.floats(0.001, 0.3), st.integers(1, 10))
def test_larger_differences_need_no_more(one, other, num_comparisons):
    small, large = sorted([one, other])
    for needed in (examples_needed, seeds_needed):
        of_small = needed(replace(THREE_SEEDS, value=small), num_comparisons)
        of_large = needed(replace(THREE_SEEDS, value=-large), num_comparisons)
        assert (of_large or 10**9) <= (of_small or 10**9)
        assert (of_small or 0) <= MAX_EXAMPLES
