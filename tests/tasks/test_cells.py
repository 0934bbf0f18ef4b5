"""The meaning of single cells of a data file."""

from __future__ import annotations

import pytest

from tune_distill.spec.errors import DataError
from tune_distill.tasks.arrow_rows import label_names
from tune_distill.tasks.cells import label_of

GRADES = ("1", "2", "3")


@pytest.mark.parametrize("cell", [1, "1", 1.0])
def test_a_number_is_a_label_where_labels_are_numbers(cell: object) -> None:
    assert label_of(cell, GRADES, GRADES, ()) == "1"


@pytest.mark.parametrize("cell", [0, "0", 4])
def test_such_a_number_is_never_the_place_of_a_label(cell: object) -> None:
    with pytest.raises(ValueError, match="must be one of 1, 2, 3, got"):
        label_of(cell, GRADES, GRADES, ())


def test_numbered_names_that_are_numbers_are_refused() -> None:
    """The file's 0 would mean "1", and so would its 1."""
    with pytest.raises(DataError, match="labels that are numbers must be stored as text"):
        label_names(GRADES, GRADES, "train.parquet")
    assert label_names(["0", "1"], ["0", "1"], "train.parquet") == ["0", "1"]
