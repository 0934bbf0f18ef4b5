import math

import pytest

from tests.reports.drawing.made_figures import confusion, metrics, parallel
from tune_distill.reports.drawing.geometry import ends, extent, names, positions
from tune_distill.reports.drawing.panels import Axis, Panel, Rule, Series

NUMBER = Axis("n")
LOG = Axis("n", "log")
NAMES = Axis("", "category", ("a", "b", "c"))


def test_a_name_stands_once_for_all_panels_and_shaded_series_need_none():
    assert names(metrics()) == ["one seed", "mean"]
    assert names(parallel()) == []
    assert names(confusion()) == []


def test_categories_lie_at_their_index_and_the_offset_moves_along_them():
    series = Series("", "points", ("c", "a"), (1.0, 2.0), offset=0.25)
    assert positions(Panel("", NAMES, NUMBER, (series,)), series) == ([2.25, 0.25], [1.0, 2.0])
    turned = Series("", "points", (1.0, 2.0), ("c", "a"), offset=0.25)
    assert positions(Panel("", NUMBER, NAMES, (turned,)), turned) == ([1.0, 2.0], [2.25, 0.25])


def test_an_unknown_category_is_named():
    series = Series("", "points", ("d",), (1.0,))
    with pytest.raises(ValueError, match=r"'d' is none of .*'a', 'b', 'c'"):
        positions(Panel("", NAMES, NUMBER, (series,)), series)


def test_what_a_log_axis_cannot_show_is_nan():
    series = Series("", "intervals", (1.0, 2.0), (0.0, 1.0), (-1.0, 0.5), (math.inf, 2.0))
    panel = Panel("", NUMBER, LOG, (series,))
    assert positions(panel, series)[1] == pytest.approx([math.nan, 1.0], nan_ok=True)
    low, high = ends(panel, series)
    assert low == pytest.approx([math.nan, 0.5], nan_ok=True)
    assert high == pytest.approx([math.nan, 2.0], nan_ok=True)


def test_an_axis_holds_points_intervals_and_rules_with_some_room():
    series = Series("", "intervals", (0.0, 1.0), (5.0, 6.0), (4.0, 4.5), (6.0, 9.0))
    panel = Panel("", NUMBER, NUMBER, (series,), (Rule("y", 14.0),))
    assert extent(panel, "x") == pytest.approx((-0.05, 1.05))
    assert extent(panel, "y") == pytest.approx((3.5, 14.5))


def test_a_log_axis_may_begin_at_the_smallest_numbers():
    series = Series("", "points", (1e-310, 1e300), (1.0, 1.0))
    low, high = extent(Panel("", LOG, LOG, (series,)), "x")
    assert 0 < low <= 1e-310
    assert 1e300 <= high < math.inf


def test_room_on_a_log_axis_is_a_factor():
    series = Series("", "points", (1.0, 100.0), (1.0, 1.0))
    low, high = extent(Panel("", LOG, LOG, (series,)), "x")
    assert (low, high) == pytest.approx((100**-0.05, 100**1.05))


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        (LOG, 4.0, (4 / 1.5, 6.0)),
        (NUMBER, 4.0, (3.8, 4.2)),
        (NUMBER, 0.0, (-0.5, 0.5)),
        (NUMBER, math.nan, (0.0, 1.0)),
        (LOG, 0.0, (1.0, 10.0)),
        (Axis("n", limits=(0.0, 2.0)), 1.0, (0.0, 2.0)),
    ],
)
def test_a_single_value_has_an_axis_too(axis, value, expected):
    panel = Panel("", axis, NUMBER, (Series("", "points", (value,), (0.0,)),))
    assert extent(panel, "x") == pytest.approx(expected)


def test_categories_have_half_a_step_on_either_side():
    assert extent(Panel("", NAMES, NUMBER, ()), "x") == (-0.5, 2.5)
