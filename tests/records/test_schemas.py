import pyarrow as pa
import pytest

from tests.nli import NLI
from tune_distill.records.schemas import (
    HISTORY,
    PREDICTIONS,
    SCORED,
    TRIALS_AFTER_SETTING,
    TRIALS_BEFORE_SETTING,
    examples_columns,
    schema,
    trials_columns,
)
from tune_distill.spec.metrics import JUDGED

INT, REAL, TEXT = pa.int64(), pa.float64(), pa.string()


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, 2], INT),
        ([1, None], INT),
        ([0.1, 0.2], REAL),
        ([0, 0.1], REAL),
        ([0.1, None], REAL),
        (["greedy", "beam 2"], TEXT),
        ([None, "main"], TEXT),
        ([None], REAL),
    ],
)
def test_a_varied_column_takes_the_type_of_its_values(values, type_):
    (column,) = varied([{"x": value} for value in values])
    assert (column.name, column.type) == ("x", type_)
    # pyarrow stores each value in this type without changing it.
    assert pa.array(values, column.type).to_pylist() == values


def test_varied_columns_are_in_the_middle_in_the_order_of_the_settings():
    columns = trials_columns([{"b": 1, "a": "x"}, {"b": 2, "a": "y"}])
    names = [column.name for column in columns]
    before = [column.name for column in TRIALS_BEFORE_SETTING]
    after = [column.name for column in TRIALS_AFTER_SETTING]
    assert names == [*before, "b", "a", *after]


def test_a_varied_field_that_every_table_shows_has_one_column():
    names = [column.name for column in trials_columns([{"num_train": 100, "x": 1}])]
    assert names.count("num_train") == 1
    assert names.index("x") == len(TRIALS_BEFORE_SETTING)


def test_a_study_without_trials_has_the_fixed_columns():
    assert trials_columns([]) == (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING)


@pytest.mark.parametrize(
    "columns", [trials_columns([]), HISTORY, PREDICTIONS, examples_columns(NLI.description)]
)
def test_column_names_differ_and_each_has_a_meaning(columns):
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.meaning for column in columns)
    assert schema(columns).names == [column.name for column in columns]


def test_predictions_are_the_stored_columns_after_the_trial_id():
    assert PREDICTIONS[1:] == SCORED
    assert PREDICTIONS[0].name == "trial_id"


def test_every_metric_that_a_study_can_name_has_a_column():
    assert set(JUDGED) <= {column.name for column in TRIALS_AFTER_SETTING}


def varied(settings):
    columns = trials_columns(settings)
    return columns[len(TRIALS_BEFORE_SETTING) : -len(TRIALS_AFTER_SETTING)]
