import pandas as pd
import pytest

import tune_distill
from tune_distill.analysis.tables import TABLES, load
from tune_distill.spec.errors import StoreError


@pytest.fixture
def results(tmp_path):
    """Results of two studies; the frames say which file they are."""
    for study in ("smoothing", "decoding"):
        (tmp_path / study).mkdir()
        for table in TABLES:
            frame = pd.DataFrame({"study": [study], "table": [table]})
            frame.to_parquet(tmp_path / study / f"{table}.parquet")
    return tmp_path


def test_load_gives_the_trials(results):
    assert load("smoothing", results=results).to_dict("records") == [
        {"study": "smoothing", "table": "trials"}
    ]


@pytest.mark.parametrize("table", TABLES)
def test_load_gives_any_table(results, table):
    frame = load("decoding", results=str(results), table=table)
    assert frame.to_dict("records") == [{"study": "decoding", "table": table}]


def test_load_looks_in_results_by_default(results, monkeypatch):
    (results / "results").mkdir()
    (results / "smoothing").rename(results / "results" / "smoothing")
    monkeypatch.chdir(results)
    assert len(load("smoothing")) == 1


def test_load_names_the_studies_that_are_there(results):
    with pytest.raises(StoreError) as caught:
        load("temperature", results=results)
    assert str(caught.value) == (
        f"{results / 'temperature' / 'trials.parquet'}: no such table; "
        f"studies in {results} are decoding, smoothing; "
        "make it with python -m tune_distill.study temperature"
    )


def test_load_says_where_there_is_nothing(tmp_path):
    with pytest.raises(StoreError, match=r"are \(none\); make it with python -m tune_distill"):
        load("smoothing", results=tmp_path / "gone")


def test_load_knows_its_tables(results):
    with pytest.raises(StoreError) as caught:
        load("smoothing", results=results, table="trial")
    assert str(caught.value) == (
        "table: must be one of trials, history, predictions, examples, got 'trial'"
    )


def test_the_package_exposes_load_and_nothing_else():
    assert tune_distill.load is load
    assert set(tune_distill.__all__) == {"__version__", "load"}
    with pytest.raises(AttributeError, match="module 'tune_distill' has no attribute 'laod'"):
        _ = tune_distill.laod
