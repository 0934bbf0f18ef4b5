"""Each meaning has one colour."""

import itertools

from tune_distill.reports.drawing.palette import (
    BETTER,
    DARK,
    LIGHT,
    MEAN,
    OPEN,
    SHAPES,
    WORSE,
    cell_colour,
    colour_places,
    on_cell,
)


def test_a_meaning_has_its_colour_whatever_is_beside_it():
    for names in ([OPEN], [BETTER, OPEN], [WORSE, BETTER, OPEN], ["other", OPEN, "another"]):
        assert colour_places(names).index(OPEN) == 7
    assert colour_places([WORSE]).index(WORSE) != colour_places([BETTER]).index(BETTER)


def test_names_without_a_meaning_have_what_is_left():
    assert colour_places(["a", "b", "c"]) == ["a", "b", "c"]
    assert colour_places(["a", MEAN, "b"]) == [MEAN, "a", "b"]
    many = [str(number) for number in range(40)]
    assert colour_places(many) == many
    assert colour_places([]) == []


def test_blanks_differ_so_that_a_scale_keeps_them():
    places = colour_places([OPEN])
    assert len(set(places)) == len(places) == 8


def test_many_names_differ_in_colour_or_shape():
    assert len(LIGHT) == len(DARK)
    pairs = zip(itertools.cycle(LIGHT), itertools.cycle(SHAPES), strict=False)
    assert len(set(itertools.islice(pairs, 56))) == 56


def test_cells_are_shaded_between_two_ends():
    assert [cell_colour(value) for value in (0.0, 1.0)] == ["#EFF5FB", "#08457E"]
    assert cell_colour(float("nan")) == cell_colour(-1.0) == cell_colour(0.0)
    assert (on_cell(0.0), on_cell(1.0)) == ("#111111", "#FFFFFF")
