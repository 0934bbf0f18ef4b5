from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests

from tune_distill.analysis.statistics.significance import holm, mcnemar


def sheets(both, only_first, only_second, neither):
    """Return two paired answer sheets with these counts."""
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    order = np.random.default_rng(0).permutation(len(first))
    return np.array(first, bool)[order], np.array(second, bool)[order]


def test_mcnemar_by_hand():
    # Five pairs differ, all in one direction: 2 * (1/2)^5.
    assert mcnemar(*sheets(3, 5, 0, 2)) == pytest.approx(0.0625, abs=1e-12)
    # One against four: both tails of 0 or 1 in 5.
    assert mcnemar(*sheets(0, 4, 1, 0)) == pytest.approx(2 * binom.cdf(1, 5, 0.5), abs=1e-12)


@pytest.mark.parametrize("counts", [(4, 0, 0, 3), (1, 0, 0, 0), (0, 0, 0, 0), (5, 3, 3, 1)])
def test_answers_that_never_differ_or_differ_evenly_say_nothing(counts):
    assert mcnemar(*sheets(*counts)) == 1.0


def test_mcnemar_agrees_with_statsmodels():
    rng = np.random.default_rng(0)
    tables = [rng.integers(0, high, 4) for high in (2, 5, 20, 100, 400) for _ in range(60)]
    for both, only_first, only_second, neither in tables:
        table = [[both, only_first], [only_second, neither]]
        if only_first + only_second == 0:
            # The oracle returns NaN or 1, depending on its version; by definition nothing is
            # rejected.
            expected = 1.0
        else:
            expected = oracle_mcnemar(table, exact=True).pvalue
        found = mcnemar(*sheets(both, only_first, only_second, neither))
        assert found == pytest.approx(expected, abs=1e-12)


def oracle_holm(p_values):
    # multipletests collects garbage at every call, which takes a second in a large process.
    with patch("gc.collect"):
        return multipletests(p_values, method="holm")[1]


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(P_VALUES)
def test_holm_agrees_with_statsmodels(p_values):
    expected = oracle_holm(p_values)
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.5, 1.0]), min_size=1, max_size=9))
def test_holm_agrees_where_p_values_tie(p_values):
    expected = oracle_holm(p_values)
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


@given(P_VALUES)
def test_holm_keeps_the_order_and_never_lowers(p_values):
    adjusted = holm(p_values)
    assert all(new >= old for new, old in zip(adjusted, p_values, strict=True))
    assert max(adjusted) <= 1
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_holm_of_one_and_of_none():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
