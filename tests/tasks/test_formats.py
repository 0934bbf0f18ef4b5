"""Defaults of pandas, pyarrow and datasets are read correctly, and a fault is located."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.nli import LABELS, read_source
from tests.tasks.data_mutations import text_types
from tune_distill.records.examples import Example
from tune_distill.spec.errors import DataError
from tune_distill.tasks import memory
from tune_distill.tasks.arrow_rows import cells_of

HEADER = "premise,hypothesis,label,explanation_1"
GOOD = f"{HEADER}\na dog,a cat,0,because\n"

FRAME = pd.DataFrame(
    {
        "premise": ["A man, tall, runs.", 'He says "no".', "two\nlines", "Zürich 😀"],
        "hypothesis": ["None", "NA", "007", "true"],
        "label": [1, 0, 2, 1],
        "explanation_1": ["1e5", "because", "nan", "拥抱"],
        "explanation_2": ["x", None, None, "y"],
    }
)
ROWS = [
    (row["premise"], row["hypothesis"], LABELS[row["label"]], [row["explanation_1"], *more])
    for row, more in zip(FRAME.to_dict("records"), (["x"], [], [], ["y"]), strict=True)
]


def read(folder: Path, name: str, content: bytes | str | None = None) -> list[Example]:
    """Return the training examples of this file, read beside good validation examples."""
    if content is not None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
    (folder / "validation.csv").write_text(GOOD)
    return read_source(str(folder)).train


def contents(examples: list[Example]) -> list[tuple[str, str, str, list[str]]]:
    return [(*e.inputs, e.label, list(e.explanations)) for e in examples]


def refused(folder: Path, name: str, content: bytes | str | None = None) -> str:
    """Return the reason why the file is refused, from its name on."""
    with pytest.raises(DataError) as caught:
        read(folder, name, content)
    assert str(caught.value).startswith(f"{folder}/{name}")
    return str(caught.value).removeprefix(f"{folder}/")


def _set() -> datasets.Dataset:
    return datasets.Dataset.from_pandas(FRAME)


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "pandas to_csv": ("csv", FRAME.to_csv),
    "pandas to_csv without index": ("csv", lambda path: FRAME.to_csv(path, index=False)),
    "pandas to_json": (
        "jsonl",
        lambda path: FRAME.to_json(path, lines=True, orient="records"),
    ),
    "pandas to_parquet": ("parquet", FRAME.to_parquet),
    "pandas to_parquet with a named index": (
        "parquet",
        lambda path: FRAME.set_index("premise").to_parquet(path),
    ),
    "pandas categories": (
        "parquet",
        lambda path: (
            FRAME.assign(label=[LABELS[n] for n in FRAME["label"]])
            .astype({"label": "category", "premise": "category"})
            .to_parquet(path)
        ),
    ),
    "pandas categories of numbers": (
        "parquet",
        lambda path: FRAME.astype({"label": "category"}).to_parquet(path),
    ),
    "pyarrow csv": ("csv", lambda path: pacsv.write_csv(pa.Table.from_pandas(FRAME), path)),
    "pyarrow parquet": ("parquet", lambda path: pq.write_table(pa.Table.from_pandas(FRAME), path)),
    "datasets to_csv": ("csv", lambda path: _set().to_csv(path)),
    "datasets to_json": ("jsonl", lambda path: _set().to_json(path)),
    "datasets to_parquet": ("parquet", lambda path: _set().to_parquet(path)),
    "a label of reals": ("csv", FRAME.astype({"label": float}).to_csv),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_common_tools_write_by_default_is_read_right(tmp_path: Path, writer: str) -> None:
    suffix, write = WRITERS[writer]
    write(tmp_path / f"train.{suffix}")
    assert contents(read(tmp_path, f"train.{suffix}")) == ROWS


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a,b,0,this half, this half\n", "line 2: must have 4 fields, as the header has, got 5"),
        ("a,b,0,c\na,b,0\n", "line 3: must have 4 fields, as the header has, got 3"),
        ('a,"b\nc",0,d\n\na,b,0,c,d\n', "line 5: must have 4 fields"),
        ('a,b,0,c\na,b,0,"never closed\na,b,0,c\n', "line 3: must be CSV, got a quote that is not"),
        ('a,b,0,"said "no" there"\n', "line 2: must be CSV, got ',' expected after"),
        ("a,b,0,c\na,b,0,c\0\n", "line 3: must be text, got a NUL"),
        ("a,b,0,c\na,b,3,c\n", "line 3: label must be one of entailment, neutral"),
        ("a,b,True,c\n", "line 2: label must be one of entailment, neutral"),
        ('a,b,0,c\n""\n', "line 3: must have 4 fields, as the header has, got 1"),
    ],
)
def test_a_malformed_row_of_csv_has_its_line(tmp_path: Path, rows: str, fault: str) -> None:
    assert refused(tmp_path, "train.csv", f"{HEADER}\n{rows}").startswith(f"train.csv {fault}")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_other_separators_are_refused_with_the_remedy(
    tmp_path: Path, separator: str, quote: str
) -> None:
    header = separator.join(f"{quote}{name}{quote}" for name in HEADER.split(","))
    message = refused(tmp_path, "train.csv", f"{header}\na{separator}b{separator}0{separator}c\n")
    assert "line 1: commas must separate the fields, got " in message
    assert f"sep={separator!r}" in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_in_unicode_are_read_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    text = f"{HEADER}\r\n\r\nein Bär,läuft,0,weil\r\n   \r\n"
    (example,) = read(tmp_path, "train.csv", text.encode(encoding))
    assert contents([example]) == [("ein Bär", "läuft", "entailment", ["weil"])]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_another_encoding_is_refused_with_its_line(tmp_path: Path, mark: bytes) -> None:
    text = mark + f"{HEADER}\nä,b,0,c\n".encode() + "a,ö,0,c\n".encode("latin-1")
    expected = "train.csv line 3: must be text in UTF-8, got other bytes; save"
    assert refused(tmp_path, "train.csv", text).startswith(expected)


def test_a_column_that_is_read_must_be_there_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "train.csv", f"{HEADER},premise\na,b,0,c,d\n")
    assert message == "train.csv: a column must be there once, got premise twice; rename one"
    assert len(read(tmp_path, "train.csv", f"{HEADER},more,more\na,b,0,c,d,e\n")) == 1


def test_a_file_without_a_header_shows_little_of_its_texts(tmp_path: Path) -> None:
    message = refused(tmp_path, "train.csv", f"{'long ' * 5000},b,0,c\n")
    assert "must have the columns" in message
    assert len(message) < 400


LINE = {"premise": "a", "hypothesis": "b", "label": 0, "explanation_1": "c"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", "must be a JSON object, got [1]"),
        ("{", "must be a JSON object, got Expecting property name"),
        ('{"premise": "a", "premise": "b"}', "must be a JSON object, got the key 'premise' twice"),
        (json.dumps(LINE | {"label": float("inf")}), "must be a JSON object, got the number Inf"),
        (json.dumps(LINE | {"premise": 5}), "premise must be text, got 5"),
        (json.dumps(LINE | {"premise": ["a"]}), "premise must be text, got ['a']"),
        (json.dumps(LINE | {"premise": "\ud800"}), "premise must be Unicode text, got a lone"),
        (json.dumps(LINE | {"label": True}), "label must be one of entailment"),
        (json.dumps(LINE | {"label": 0.5}), "label must be one of entailment"),
        (json.dumps(LINE | {"label": 1.0000001}), "label must be one of entailment"),
        ("[" * 100_000, "must be a JSON object, got too deep a nesting"),
        ('{"label": ' + "9" * 5000 + "}", "must be a JSON object, got Exceeds the limit"),
    ],
)
def test_a_malformed_line_of_jsonl_has_its_number(tmp_path: Path, line: str, fault: str) -> None:
    message = refused(tmp_path, "train.jsonl", f"{json.dumps(LINE)}\n\n{line}\n")
    assert message.startswith(f"train.jsonl line 3: {fault}")
    assert len(message) < 400


def test_an_array_of_json_is_refused_with_the_remedy(tmp_path: Path) -> None:
    message = refused(tmp_path, "train.jsonl", json.dumps([LINE, LINE]))
    assert "to_json(..., orient='records', lines=True)" in message


def written(path: Path, **cells: Any) -> Path:
    """Write a file with one row that has these cells, and return its path."""
    frame = pd.DataFrame([LINE | cells])
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text(json.dumps(LINE | cells) + "\n")
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("label", ["1", "1.0", "Neutral ", 1, 1.0])
def test_every_format_takes_the_same_labels(tmp_path: Path, suffix: str, label: Any) -> None:
    path = written(tmp_path / f"train.{suffix}", label=label)
    assert [example.label for example in read(tmp_path, path.name)] == ["neutral"]


def table(**columns: Any) -> pa.Table:
    return pa.table({name: [value, value] for name, value in LINE.items()} | columns)


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(2),
        *text_types(pa.binary(), pa.large_binary(), pa.large_string(), pa.string_view()),
    ],
)
def test_texts_of_any_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {
        name: pa.array(["ä"] * 2).cast(pa.binary()).cast(kind) for name in LINE if name != "label"
    }
    pq.write_table(table(**columns), tmp_path / "train.parquet")
    assert read(tmp_path, "train.parquet")[0].inputs[0] == "ä"


def test_an_index_outside_of_a_dictionary_is_refused() -> None:
    # pyarrow reads such a file without a check, and a row would get another row's text.
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "b"]), safe=False)
    with pytest.raises(ValueError, match="must be below 2, got 2; copy the file again"):
        list(cells_of(pa.table({"text": broken}), ["text"]))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_nul_is_refused_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"train.{suffix}", premise="a man\0walks")
    assert "must be text, got a NUL character" in refused(tmp_path, path.name)


def test_bytes_that_are_no_text_are_refused_with_their_row(tmp_path: Path) -> None:
    pq.write_table(table(premise=[b"a", b"\xff"]), tmp_path / "train.parquet")
    message = refused(tmp_path, "train.parquet")
    assert message.startswith("train.parquet row 1: premise must be text in UTF-8, got b'\\xff'")


def named(names: list[str]) -> datasets.Dataset:
    features = {name: datasets.Value("string") for name in LINE}
    features["label"] = datasets.ClassLabel(names=names)
    rows = {name: [value] * 4 for name, value in LINE.items()} | {"label": [0, 1, 2, -1]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def test_numbers_mean_what_the_files_label_names_say(tmp_path: Path) -> None:
    names = ["contradiction", "Entailment", "neutral"]
    named(names).to_parquet(tmp_path / "train.parquet")
    found = [example.label for example in read(tmp_path, "train.parquet")]
    assert found == ["contradiction", "entailment", "neutral"]


@pytest.mark.parametrize(
    "names", [["yes", "no", "maybe"], [*LABELS, "other"], ["0", "1", "2"], list(LABELS[:2])]
)
def test_names_that_are_not_the_three_labels_are_refused(tmp_path: Path, names: list[str]) -> None:
    rows = named(names if len(names) > 2 else [*names, "x"])
    rows.to_parquet(tmp_path / "train.parquet")
    assert refused(tmp_path, "train.parquet").startswith("train.parquet: label names must be ")


def test_label_names_of_a_hub_set_hold_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = named(["contradiction", "entailment", "neutral"])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    labels = [example.label for example in read_source("someone/pairs").train]
    assert labels == ["contradiction", "entailment", "neutral"]
    rows = named(["a", "b", "c"])
    with pytest.raises(DataError, match=r"someone/pairs \(train\): label names must be"):
        read_source("someone/pairs")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 4 * 2**20)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize("text", ["x" * 10_000, "x"])
def test_a_parquet_that_unpacks_beyond_memory_is_one_message(
    tmp_path: Path, use_dictionary: bool, text: str
) -> None:
    count = 20_000_000 // max(len(text), memory.ROW_BYTES)
    large = pa.table(
        {
            name: pa.array([value]).take(pa.array([0] * count))
            for name, value in (LINE | {"premise": text}).items()
        }
    )
    path = tmp_path / "train.parquet"
    pq.write_table(large, path, use_dictionary=use_dictionary, compression="zstd")
    assert path.stat().st_size < 2**20
    message = refused(tmp_path, "train.parquet")
    assert message.startswith("train.parquet: a data source must fit into a quarter of this")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_a_text_file_beyond_memory_is_one_message(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path, name, "x" * 2**21)
    assert message.startswith(f"{name}: a data source must fit into a quarter of this")


def test_the_memory_of_this_machine_is_known() -> None:
    assert 2**26 < memory.memory_bytes() < 2**46
