import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tune_distill.reports.drawing.panels import Axis, Panel
from tune_distill.reports.drawing.ticks import fit_labels, linear_ticks, log_ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9e-5, 1.2e-3, [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]),
        (0.9, 120.0, [1, 3, 10, 30, 100]),
        (1e-8, 1e8, [1e-8, 1e-5, 1e-2, 1e1, 1e4, 1e7]),
        (1.5, 12.0, [2, 3, 5, 7, 10]),
    ],
)
def test_a_log_axis_has_round_numbers(low, high, expected):
    assert log_ticks(low, high, 6) == pytest.approx(expected)


@given(st.floats(1e-9, 1e6), st.floats(1.001, 1e9), st.integers(2, 7))
def test_a_log_axis_has_at_least_two_ticks_inside(low, factor, most):
    ticks = log_ticks(low, low * factor, most)
    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    slack = low * 1e-6
    assert all(low - slack <= tick <= low * factor + slack for tick in ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 7))
def test_a_linear_axis_has_equal_steps(low, span, most):
    ticks = linear_ticks(low, low + span, most)
    # A step is at most 2.5 times as fine as the next coarser one.
    assert 2 <= len(ticks) <= 2.5 * most + 1
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6, abs=1e-9)
    assert all(math.isfinite(tick) for tick in ticks)


def test_a_narrow_panel_keeps_the_ends():
    axes = Figure().add_subplot()
    axes.set_xlim(1_000_000.0, 1_000_001.0)
    fit_labels(axes, Panel("", Axis("x"), Axis("y"), ()), 0.3, 2.0, 1.0)
    assert len(axes.get_xticks()) == 2
    assert len(axes.get_yticks()) > 2
