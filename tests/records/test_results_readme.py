import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

import tune_distill
from tests.records.made import (
    INPUTS,
    LocalStore,
    evaluation_record,
    finish,
    finish_run,
    history,
    prediction,
    resolved,
    trials_of,
)
from tune_distill.records.environment import environment
from tune_distill.records.schema_page import written
from tune_distill.records.schemas import (
    HISTORY,
    TABLES,
    TRIALS_AFTER_SETTING,
    TRIALS_BEFORE_SETTING,
)
from tune_distill.records.tables import write_predictions
from tune_distill.records.trials import TrialRecord, complete_record, write_study_tables
from tune_distill.spec.yaml_files import dump_study

README = (Path(__file__).parents[2] / "results" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_as_the_schema_has_it_and_no_other(table):
    documented = rows_of(f"{table}.parquet", "Column")
    columns = [[f"`{c.name}`", str(c.type), c.meaning, c.null] for c in TABLES[table]]
    assert documented == columns, "run make schema"


def test_the_page_keeps_its_text_when_its_tables_are_written_again():
    assert written(README) == README
    without = README.replace("| `grounding` | double ", "| `gone` | double ")
    assert without != README
    assert written(without) == README


def test_varied_parameters_stand_where_the_page_says():
    section = section_of("trials.parquet")
    varied = section.index("Then comes one column for each varied parameter")
    assert section.index(f"`{TRIALS_BEFORE_SETTING[-1].name}` |") < varied
    assert varied < section.index(f"`{TRIALS_AFTER_SETTING[0].name}` |")


@pytest.fixture
def study_folder(tmp_path) -> Path:
    """Return a study's folder with a trial of each state and as many nulls as possible."""
    store = LocalStore(tmp_path / ".store")
    trial, pruned, failed = trials_of("smoothing")
    finish(store, trial)
    finish_run(store, trial)
    absent = dict.fromkeys(("predicted_label", "rouge1", "rouge2", "rougeL", "faithful"))
    rows = [prediction(), prediction(**absent, grounding=0.5)]
    store.save_evaluation(
        trial.evaluation_key,
        trial.run_key,
        evaluation_record(),
        lambda path: write_predictions(path, rows),
    )
    records = [
        complete_record(trial, store, reused=False),
        TrialRecord(pruned, "pruned", False, history=history(None, 2.0)),
        TrialRecord(failed, "failed", False, "why"),
    ]
    write_study_tables(tmp_path / "smoothing", "smoothing", records, store, INPUTS)
    return tmp_path / "smoothing"


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_null_exactly_where_the_page_says_they_may_be(study_folder, table):
    frame = pd.read_parquet(study_folder / f"{table}.parquet")
    for name, _, _, null in rows_of(f"{table}.parquet", "Column"):
        assert frame[name.strip("`")].isna().any() == (null != "never"), name


def test_columns_that_only_complete_trials_have(study_folder):
    frame = pd.read_parquet(study_folder / "trials.parquet").set_index("state")
    for name, _, _, null in rows_of("trials.parquet", "Column"):
        column = frame.reset_index().set_index("state", drop=False)[name.strip("`")]
        if null == "unless `complete`":
            assert column.notna().to_dict() == {"complete": True, "pruned": False, "failed": False}
        if null == "unless `failed`":
            assert column.notna().to_dict() == {"complete": False, "pruned": False, "failed": True}
        if null.startswith("if it ended before"):
            assert column.notna().to_dict() == {"complete": True, "pruned": True, "failed": False}


def test_every_file_of_a_study_is_documented(study_folder):
    made = {path.name for path in study_folder.iterdir()}
    listed = {row[0].strip("`") for row in table_rows(README, "File")}
    reports = {"report.html", "report.md", "summary.json", "manifest.json", "figures/"}
    beside = {"study.yaml", "task.yaml", "environment.json", "events.jsonl"}
    assert listed == made | reports | beside


def test_every_key_of_the_environment_is_documented():
    documented = [row[0].strip("`") for row in rows_of("The other files", "Key")]
    assert documented == [*environment(), "nodes"]


def test_the_python_lines_run(study_folder, monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    study_folder.rename(tmp_path / "results" / "smoothing")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, pd.DataFrame] = {}
    exec(code, names)
    assert len(names["trials"]) == 3
    assert set(names["history"]) == {column.name for column in HISTORY}
    assert names["answers"]["label_smoothing"].tolist() == [0.0, 0.0]
    assert names["texts"]["premise"].tolist() == ["a man plays"] * 2
    assert tune_distill.load("smoothing").equals(names["trials"])


def test_the_stores_layout_is_the_stores(tmp_path):
    store = LocalStore(tmp_path / ".store")
    trial = trials_of()[0]
    finish(store, trial)
    store.save_checkpoint(trial.run_key, lambda path: path.write_text(""))
    store.save_simulator("pool-v1", b"")
    store.journal_path("search").parent.mkdir(parents=True)
    store.journal_path("search").touch()
    layout = section_of("The store")
    for folder in (tmp_path / ".store").iterdir():
        assert f".store/{folder.name}/" in layout
    kept = [*store.run_dir(trial.run_key).iterdir()]
    kept += [*store.evaluation_dir(trial.evaluation_key).iterdir(), store.journal_path("search")]
    assert all(re.sub("-[0-9a-f]{12}$", "-<id>", path.name) in layout for path in kept)


def test_study_yaml_holds_every_field_and_the_seeds():
    study = yaml.safe_load(dump_study(resolved("smoothing", num_seeds=3)))
    assert study["replicates"] == 3
    config = json.loads(json.dumps(resolved("smoothing").profile.model_dump()))
    assert len(study["overrides"]) == sum(len(section) for section in config.values())


def section_of(heading: str) -> str:
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    return section


def rows_of(heading: str, first_column: str) -> list[list[str]]:
    return table_rows(section_of(heading), first_column)


def table_rows(text: str, first_column: str) -> list[list[str]]:
    """Return the rows of cells of every table whose heading starts with `first_column`."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif inside and cells[0].strip("-"):
            rows.append(cells)
        else:
            inside = inside or cells[0] == first_column
    return rows
