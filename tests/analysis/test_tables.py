import pandas as pd
import pytest

import tune_distill
from tune_distill.analysis.tables import TABLES, load, load_all
from tune_distill.reports.reports import verdict
from tune_distill.spec.errors import StoreError


@pytest.fixture
def results(tmp_path):
    """Return results of two studies; each frame says which file it comes from."""
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


def test_load_all_puts_the_studies_one_below_the_other(results):
    frame = load_all(results=str(results))
    assert frame.to_dict("records") == [
        {"study": "decoding", "table": "trials"},
        {"study": "smoothing", "table": "trials"},
    ]


@pytest.mark.parametrize("table", TABLES)
def test_load_all_names_the_study_where_the_table_does_not(results, table):
    for study in ("smoothing", "decoding"):
        pd.DataFrame({"value": [1, 2]}).to_parquet(results / study / f"{table}.parquet")
    frame = load_all(results=results, table=table)
    assert list(frame.columns) == ["study", "value"]
    assert list(frame["study"]) == ["decoding"] * 2 + ["smoothing"] * 2
    assert list(frame.index) == [0, 1, 2, 3]


def test_load_all_leaves_out_what_a_study_does_not_vary(tmp_path):
    for study, column in (("smoothing", "label_smoothing"), ("temperature", "temperature")):
        (tmp_path / study).mkdir()
        frame = pd.DataFrame({"study": [study], column: [0.5]})
        frame.to_parquet(tmp_path / study / "trials.parquet")
    frame = load_all(results=tmp_path).set_index("study")
    assert frame.loc["smoothing", "label_smoothing"] == 0.5
    assert pd.isna(frame.loc["smoothing", "temperature"])


def test_load_all_reads_what_studies_write(studies, tmp_path):
    folders = [studies.copy(name, tmp_path) for name in ("one seed", "samples")]
    whole = load_all(results=tmp_path / "results")
    counts = {folder.name: len(pd.read_parquet(folder / "trials.parquet")) for folder in folders}
    assert whole["study"].value_counts().to_dict() == counts
    assert whole.groupby("study")["temperature"].count().to_dict() == {
        "smoothing": 0,
        "temperature": 12,
    }
    answers = load_all(results=tmp_path / "results", table="predictions")
    assert answers["study"].value_counts().to_dict() == {"smoothing": 180, "temperature": 2400}


def test_load_all_looks_in_results_by_default(results, monkeypatch):
    (results / "results").mkdir()
    (results / "smoothing").rename(results / "results" / "smoothing")
    monkeypatch.chdir(results)
    assert len(load_all()) == 1


def test_load_all_says_where_there_is_nothing(tmp_path):
    with pytest.raises(StoreError) as caught:
        load_all(results=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: must hold the folders of studies, got none; "
        "make one with python -m tune_distill.study smoothing"
    )


def test_load_all_names_a_table_that_a_study_lacks(results):
    (results / "smoothing" / "history.parquet").unlink()
    with pytest.raises(StoreError, match=r"smoothing/history\.parquet: no such table"):
        load_all(results=results, table="history")


def test_a_damaged_table_is_named(results):
    path = results / "smoothing" / "trials.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match=r"trials\.parquet: must be a Parquet table") as caught:
        load("smoothing", results=results)
    assert "make it again with python -m tune_distill.study smoothing" in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cells"), [("seed", [[0]]), ("state", [1]), ("reused", ["yes"]), ("error", [2.5])]
)
def test_a_column_of_another_type_is_named(results, column, cells):
    path = results / "smoothing" / "trials.parquet"
    frame = pd.read_parquet(path)
    frame[column] = cells * len(frame)
    frame.to_parquet(path)
    with pytest.raises(StoreError, match=rf"trials\.parquet: .* got column {column} of type "):
        load("smoothing", results=results)


def test_the_package_exposes_its_readers():
    assert tune_distill.load is load
    assert tune_distill.load_all is load_all
    assert tune_distill.verdict is verdict
    with pytest.raises(AttributeError, match="module 'tune_distill' has no attribute 'laod'"):
        _ = tune_distill.laod
