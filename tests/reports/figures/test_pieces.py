"""Axes and series that several figures share."""

import math

import pytest

from tune_distill.reports.drawing.panels import Axis, Series
from tune_distill.reports.figures.pieces import (
    column_label,
    dotted,
    seed_points,
    setting_axis,
    setting_positions,
    size_caption,
    spans_decades,
    trials_caption,
)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("smoothing", Axis("label smoothing")),
        ("learning_rate", Axis("learning rate", "log")),
        ("data_size", Axis("train fraction (share of the pool)")),
        (
            "decoding",
            Axis(
                "strategy",
                "category",
                ("greedy", "beam 2", "beam 4", "beam 8", "top-k 50", "top-p 0.9"),
            ),
        ),
        (
            "two numbers",
            Axis(
                "learning rate, batch size",
                "category",
                ("0.0001, 8", "0.0001, 16", "0.0001, 32", "0.001, 8", "0.001, 16", "0.001, 32"),
            ),
        ),
        ("sizes of the pool", Axis("num train (examples)")),
        ("sources", Axis("data", "category", ("mini-nli", "org/other"))),
    ],
)
def test_the_axis_is_numeric_where_one_number_varies(studies, name, axis):
    verdict = studies.verdict(name)
    assert setting_axis(verdict) == axis
    places = setting_positions(verdict)
    assert list(places) == list(range(len(verdict.results.settings)))
    if axis.categories:
        assert tuple(places.values()) == axis.categories
    else:
        [column] = verdict.results.columns
        assert list(places.values()) == [point[column] for point in verdict.results.settings]


def test_a_null_among_the_values_makes_names_of_them(studies):
    axis = setting_axis(studies.verdict("null"))
    assert axis.scale == "category"
    assert len(axis.categories) == 3
    assert axis.categories[1:] == ("main", "v2")


def test_lengths_have_a_unit_alone_and_none_together(studies):
    assert (
        column_label(studies.verdict("sequence_length")) == "max source length, max target length"
    )


def test_captions_say_how_much_was_measured(studies):
    captions = {
        "smoothing": "n = 3 seeds x 120 examples; baseline 0.1.",
        "one seed": "n = 1 seed x 60 examples; baseline 0.1.",
        "samples": "n = 3 seeds x 40 examples, up to 5 answers each; baseline 1.",
        "all pruned": "n = 0 seeds x 0 examples.",
    }
    assert {name: size_caption(studies.verdict(name)) for name in captions} == captions
    told = trials_caption(studies.verdict("learning_rate"))
    assert told == "n = 11 complete, 4 pruned, 3 failed trials."


def test_a_trial_without_the_number_has_no_point():
    seeds = seed_points([(1.0, 0.5, "seed 0"), (1.0, math.nan, "seed 1"), (2.0, 0.7, "seed 2")])
    assert (seeds.x, seeds.y, seeds.texts) == ((1.0, 2.0), (0.5, 0.7), ("seed 0", "seed 2"))


def test_a_point_stands_in_the_middle_of_each_interval():
    whole = Series(
        "m",
        "intervals",
        (1.0,),
        (0.5,),
        (0.4,),
        (0.6,),
        texts=("t",),
        annotated=True,
        marker="open",
    )
    bars, dots = dotted(whole)
    assert bars == Series("m", "intervals", (1.0,), (0.5,), (0.4,), (0.6,), marker="open")
    assert dots == Series(
        "m", "points", (1.0,), (0.5,), texts=("t",), annotated=True, marker="open"
    )


@pytest.mark.parametrize(
    ("values", "wide"),
    [((1.0, 4.0), False), ((1.0, 4.1), True), ((0.0, 100.0), False), ((-1.0, 100.0), False)],
)
def test_only_positive_values_far_apart_want_a_logarithm(values, wide):
    assert spans_decades(values) == wide
