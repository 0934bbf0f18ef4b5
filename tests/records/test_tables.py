import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.nli import NLI
from tests.records.made import CONTENT_IDS, example, prediction
from tune_distill.records.schemas import (
    HISTORY,
    PREDICTIONS,
    SCORED,
    Column,
    examples_columns,
    schema,
)
from tune_distill.records.tables import (
    write_all_predictions,
    write_examples,
    write_history,
    write_predictions,
    write_trials,
)
from tune_distill.spec.errors import StoreError

COLUMNS = (
    Column("trial_id", pa.string(), "id"),
    Column("seed", pa.int64(), "seed"),
    Column("loss", pa.float64(), "loss"),
    Column("reused", pa.bool_(), "reused"),
)
ROWS = [
    {"trial_id": 'x=0.1,seed=0 "quoted",\nline', "seed": 0, "loss": 0.1 + 0.2, "reused": True},
    {"trial_id": "é", "seed": 2**53 + 1, "loss": None, "reused": False},
]
HISTORY_ROW = {
    "trial_id": "t",
    "step": 10,
    "epoch": 0.5,
    "train_loss": 2.0,
    "unsmoothed_train_loss": 1.5,
    "eval_loss": None,
    "learning_rate": 1e-3,
    "elapsed_s": 3.0,
}


def test_trials_have_the_schema_and_read_with_pandas_alone(tmp_path):
    write_trials(tmp_path, ROWS, COLUMNS)
    assert pq.read_schema(tmp_path / "trials.parquet").equals(schema(COLUMNS))
    frame = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(frame) == ["trial_id", "seed", "loss", "reused"]
    assert frame["trial_id"].tolist() == [row["trial_id"] for row in ROWS]
    assert frame["seed"].tolist() == [0, 2**53 + 1]
    assert frame["loss"][0] == 0.1 + 0.2
    assert math.isnan(frame["loss"][1])
    assert frame["reused"].tolist() == [True, False]


def test_the_csv_holds_the_same(tmp_path):
    write_trials(tmp_path, ROWS, COLUMNS)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "trials.csv"), pd.read_parquet(tmp_path / "trials.parquet")
    )


@pytest.mark.parametrize("start", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "\t=1", "\r=1"])
def test_the_csv_has_no_formulas(tmp_path, start):
    """A spreadsheet would run such a name as a formula when it opens the file."""
    rows = [dict(ROWS[0], trial_id=start, loss=-1.5), dict(ROWS[1], trial_id=f"a{start}")]
    write_trials(tmp_path, rows, COLUMNS)
    frame = pd.read_csv(tmp_path / "trials.csv", lineterminator="\n")
    assert frame["trial_id"].tolist() == [f"'{start}", f"a{start}"]
    assert frame["loss"].tolist()[0] == -1.5
    texts = pd.read_parquet(tmp_path / "trials.parquet")["trial_id"].tolist()
    assert texts == [start, f"a{start}"]


def test_a_missing_text_is_missing_in_the_csv(tmp_path):
    write_trials(tmp_path, [dict(ROWS[0], trial_id=None)], COLUMNS)
    assert pd.read_csv(tmp_path / "trials.csv")["trial_id"].isna().tolist() == [True]


def test_a_study_without_rows_still_has_its_columns(tmp_path):
    write_trials(tmp_path, [], COLUMNS)
    frame = pd.read_parquet(tmp_path / "trials.parquet")
    assert (len(frame), list(frame)) == (0, ["trial_id", "seed", "loss", "reused"])
    assert (tmp_path / "trials.csv").read_text() == '"trial_id","seed","loss","reused"\n'


def test_a_row_without_a_column_is_an_error_and_changes_no_table(tmp_path):
    write_trials(tmp_path, ROWS, COLUMNS)
    before = (tmp_path / "trials.parquet").read_bytes()
    with pytest.raises(KeyError, match="reused"):
        write_trials(tmp_path, [{"trial_id": "t", "seed": 0, "loss": 1.0}], COLUMNS)
    assert (tmp_path / "trials.parquet").read_bytes() == before
    incomplete = {name: value for name, value in HISTORY_ROW.items() if name != "eval_loss"}
    with pytest.raises(KeyError, match="eval_loss"):
        write_history(tmp_path, [incomplete])
    assert not (tmp_path / "history.parquet").exists()


def test_history_has_the_schema(tmp_path):
    write_history(tmp_path, [HISTORY_ROW])
    assert pq.read_schema(tmp_path / "history.parquet").equals(schema(HISTORY))
    assert pq.read_table(tmp_path / "history.parquet").to_pylist() == [HISTORY_ROW]


def test_stored_predictions_have_a_column_for_every_score(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [prediction(predicted_label=None, correct=False)])
    assert pq.read_schema(path).equals(schema(SCORED))
    (row,) = pq.read_table(path).to_pylist()
    assert (row["predicted_label"], row["correct"], row["grounding"]) == (None, False, None)
    assert (row["eval_loss"], row["num_target_tokens"]) == (1.25, 8)


def test_examples_have_the_schema_and_all_their_references(tmp_path):
    write_examples(tmp_path, NLI.description, [example("e1"), example("e2")])
    assert pq.read_schema(tmp_path / "examples.parquet").equals(
        schema(examples_columns(NLI.description))
    )
    first, second = pq.read_table(tmp_path / "examples.parquet").to_pylist()
    assert first == {
        "example_id": "e1",
        "premise": "a man plays",
        "hypothesis": "he sits",
        "gold_label": "neutral",
        "explanations": ["he may sit", "or he may stand"],
    }
    assert second == {**first, "example_id": "e2"}
    frame = pd.read_parquet(tmp_path / "examples.parquet")
    assert list(frame["explanations"][0]) == ["he may sit", "or he may stand"]


def test_a_study_without_examples_still_has_their_columns(tmp_path):
    write_examples(tmp_path, NLI.description, [])
    assert pq.read_schema(tmp_path / "examples.parquet").equals(
        schema(examples_columns(NLI.description))
    )


def test_predictions_of_several_trials_become_one_table_in_order(tmp_path):
    parts = []
    for name, examples in (("first", ["e2", "e1"]), ("second", []), ("third", ["e1"])):
        path = tmp_path / f"{name}.part"
        write_predictions(path, [prediction(example) for example in examples])
        parts.append(part(name, path))
    write_all_predictions(tmp_path, parts, NAMES)
    assert pq.read_schema(tmp_path / "predictions.parquet").equals(schema(PREDICTIONS))
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert list(zip(frame["trial_id"], frame["example_id"], strict=True)) == [
        ("first", "e2"),
        ("first", "e1"),
        ("third", "e1"),
    ]


def test_answers_get_the_studys_ids_in_any_order_of_storage(tmp_path):
    parts, orders = [], (["b", "a", "a-2"], ["b", "a", "a-2"], ["a-2", "b", "a"], ["a"])
    for number, order in enumerate(orders):
        path = tmp_path / f"part-{number}"
        write_predictions(path, [prediction(name, prediction=name) for name in order])
        parts.append(part(f"t{number}", path))
    write_all_predictions(tmp_path, parts, {"a": "mine", "a-2": "again", "b": "yours"})
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    shown = frame["prediction"].map({"a": "mine", "a-2": "again", "b": "yours"})
    assert frame["example_id"].tolist() == shown.tolist()
    assert len(frame) == 10


def test_answers_to_other_examples_are_refused(tmp_path):
    path = tmp_path / "store" / "part"
    path.parent.mkdir()
    write_predictions(path, [prediction("e1"), prediction("of another study")])
    expected = f"^{path}: must hold answers to this study's examples, .* remove {path.parent} and"
    with pytest.raises(StoreError, match=expected):
        write_all_predictions(tmp_path, [part("t", path)], NAMES)


def test_parts_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "part"
    write_predictions(path, [prediction()])

    def parts():
        yield part("first", path)
        # The first part has been written to the new file, so its source can be removed.
        path.unlink()
        write_predictions(path, [prediction("e9")])
        yield part("second", path)

    write_all_predictions(tmp_path, parts(), NAMES)
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert frame["example_id"].tolist() == ["e0", "e9"]


def test_without_a_complete_trial_predictions_are_empty(tmp_path):
    write_all_predictions(tmp_path, [], NAMES)
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert (len(frame), list(frame)) == (0, [column.name for column in PREDICTIONS])


NAMES = {CONTENT_IDS[0]: "e0"} | {name: name for name in ("e1", "e2", "e9", "odd")}
"""The study's ids of the examples in these tests, by content id."""


def part(trial_id: str, path: Path) -> tuple[str, str, bytes]:
    return trial_id, str(path), path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"not parquet"])
def test_stored_predictions_that_cannot_be_read_are_named(tmp_path, content):
    whole, damaged = tmp_path / "whole", tmp_path / "store" / "damaged"
    write_predictions(whole, [prediction()])
    write_all_predictions(tmp_path, [part("t", whole)], NAMES)
    before = (tmp_path / "predictions.parquet").read_bytes()
    damaged.parent.mkdir()
    damaged.write_bytes(content)
    with pytest.raises(StoreError, match=f"^{damaged}: must hold .* run the same command again"):
        write_all_predictions(tmp_path, [part("t", whole), part("u", damaged)], NAMES)
    assert (tmp_path / "predictions.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "predictions.parquet",
        "store",
        "whole",
    ]


def small_groups(monkeypatch, batch_rows=4, group_rows=8):
    """Lower the numbers of rows per batch and per row group."""
    monkeypatch.setattr("tune_distill.records.tables._BATCH_ROWS", batch_rows)
    monkeypatch.setattr("tune_distill.records.tables.GROUP_ROWS", group_rows)


def group_sizes(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_small_parts_share_a_row_group(tmp_path):
    path = tmp_path / "part"
    write_predictions(path, [prediction(f"e{number}") for number in range(3)])
    names = {f"e{number}": f"e{number}" for number in range(3)}
    write_all_predictions(tmp_path, [part(f"t{number}", path) for number in range(50)], names)
    assert group_sizes(tmp_path / "predictions.parquet") == [150]


@pytest.mark.parametrize("num_answers", [0, 1, 3, 8, 30])
def test_parts_of_any_size_stay_whole_and_in_order(tmp_path, monkeypatch, num_answers):
    small_groups(monkeypatch)
    path, odd = tmp_path / "part", tmp_path / "odd"
    answers = [prediction(f"e{number}", sample=number) for number in range(num_answers)]
    write_predictions(path, answers)
    write_predictions(odd, [prediction("odd")])
    parts = [(f"t{number}", odd if number == 4 else path) for number in range(9)]
    names = {name: name for name in ("odd", *(f"e{number}" for number in range(num_answers)))}
    write_all_predictions(tmp_path, [part(*each) for each in parts], names)
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert rows == [
        {"trial_id": name, **row} for name, each in parts for row in pq.read_table(each).to_pylist()
    ]
    assert all(size >= 8 for size in group_sizes(tmp_path / "predictions.parquet")[:-1])


def test_predictions_of_former_versions_have_nulls_for_what_they_lack(tmp_path):
    former, path = tmp_path / "former", tmp_path / "part"
    write_predictions(path, [prediction()])
    pq.write_table(pq.read_table(path).drop_columns(["eval_loss", "num_target_tokens"]), former)
    write_all_predictions(tmp_path, [part("old", former), part("new", path)], NAMES)
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [(row["trial_id"], row["eval_loss"]) for row in rows] == [("old", None), ("new", 1.25)]
    assert pq.read_schema(tmp_path / "predictions.parquet").equals(schema(PREDICTIONS))


@pytest.mark.parametrize("num_rows", [3, 4, 5, 21])
def test_rows_are_the_same_however_many_are_written_at_a_time(tmp_path, monkeypatch, num_rows):
    rows = [{**ROWS[number % 2], "seed": number} for number in range(num_rows)]
    history = [{**HISTORY_ROW, "step": number} for number in range(num_rows)]
    write_trials(tmp_path / "at once", rows, COLUMNS)
    small_groups(monkeypatch)
    write_trials(tmp_path / "batches", rows, COLUMNS)
    write_history(tmp_path / "batches", iter(history))
    whole, batched = (
        (pq.read_table(folder / "trials.parquet"), (folder / "trials.csv").read_bytes())
        for folder in (tmp_path / "at once", tmp_path / "batches")
    )
    assert batched == whole
    assert pq.read_table(tmp_path / "batches" / "history.parquet").to_pylist() == history
