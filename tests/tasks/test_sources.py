"""Every layout and format of e-SNLI gives the same examples; unusable data are explained."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.nli import LABELS, pair, read_source
from tests.tiny import mini_examples, write_csv
from tune_distill.records.examples import Example
from tune_distill.spec.errors import DataError
from tune_distill.tasks.sources import RawCorpus

FORMATS = ("csv", "jsonl", "parquet")
HUB_COLUMNS = ("premise", "hypothesis", "label", "explanation_1", "explanation_2", "explanation_3")

PLAIN = pair("", "A man runs.", "A man moves.", "entailment", ("Running is moving.",))
EXAMPLES = [
    PLAIN,
    pair("", 'A "dog", wet', "It is\nraining.", "neutral", ("None", "NA", "null")),
    pair("", "Zürich’s café 😀", "nan", "contradiction", ("A\r\nB", "1e5")),
    pair("", "007", "2020-01-01", "neutral", ("True", "-")),
]
BAD_LABELS = "label must be one of entailment, neutral, contradiction or 0, 1, 2"


def hub_row(example: Example) -> dict[str, Any]:
    """Return the example as on the hub: the label is a number, missing explanations are null."""
    texts = [*example.explanations, None, None][:3]
    first = (*example.inputs, LABELS.index(example.label))
    return dict(zip(HUB_COLUMNS, (*first, *texts), strict=True))


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows in the format of the path's suffix; null is an empty cell of a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8", newline="")
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def folder_of(folder: Path, train: Sequence[dict[str, Any]], suffix: str = "csv") -> str:
    """Write a source with these training rows and one good validation row."""
    write_rows(folder / f"train.{suffix}", train)
    write_rows(folder / f"validation.{suffix}", [hub_row(PLAIN)])
    return str(folder)


def contents(examples: Sequence[Example]) -> list[Example]:
    return [replace(example, example_id="") for example in examples]


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> RawCorpus:
    """Return the examples read from the authors' columns in CSV."""
    folder = tmp_path_factory.mktemp("authors")
    write_csv(folder / "esnli_train.csv", EXAMPLES)
    write_csv(folder / "esnli_dev.csv", EXAMPLES[:2])
    return read_source(str(folder))


def test_the_authors_csv_is_read_whole(authors: RawCorpus) -> None:
    assert contents(authors.train) == EXAMPLES
    assert contents(authors.validation) == EXAMPLES[:2]
    assert authors.dropped == {"train": {}, "validation": {}}


@pytest.mark.parametrize("suffix", FORMATS)
def test_hub_columns_give_the_same_examples(
    tmp_path: Path, authors: RawCorpus, suffix: str
) -> None:
    source = folder_of(tmp_path, [hub_row(example) for example in EXAMPLES], suffix)
    assert contents(read_source(source).train) == contents(authors.train)


@pytest.mark.parametrize("suffix", FORMATS)
def test_labels_may_be_names_in_any_case(tmp_path: Path, suffix: str) -> None:
    rows = [hub_row(PLAIN) | {"label": name} for name in ("Entailment", "neutral", "CONTRADICTION")]
    labels = [example.label for example in read_source(folder_of(tmp_path, rows, suffix)).train]
    assert labels == list(LABELS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_columns_of_numbers_stay_text(tmp_path: Path, suffix: str) -> None:
    numbers = pair("", "007", "1.50", "neutral", ("1e5", "2020-01-01"))
    source = folder_of(tmp_path, [hub_row(numbers)] * 2, suffix)
    assert contents(read_source(source).train) == [numbers] * 2


def test_train_parts_follow_one_another_whatever_their_columns(tmp_path: Path) -> None:
    more = mini_examples("train", 6)
    write_csv(tmp_path / "esnli_train_1.csv", EXAMPLES)
    write_rows(tmp_path / "esnli_train_2.csv", [hub_row(example) for example in more])
    write_csv(tmp_path / "esnli_train_3.csv", [])
    write_csv(tmp_path / "esnli_dev.csv", [PLAIN])
    write_csv(tmp_path / "esnli_test.csv", mini_examples("validation", 5))
    train = read_source(str(tmp_path)).train
    assert contents(train) == [*EXAMPLES, *contents(more)]
    assert len({example.example_id for example in train}) == len(train)


def test_one_pair_annotated_twice_keeps_two_ids(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [replace(PLAIN, example_id="99.jpg#1")] * 2)
    write_csv(tmp_path / "dev.csv", [PLAIN])
    first, second = (example.example_id for example in read_source(str(tmp_path)).train)
    assert first != second
    assert first.startswith("99.jpg#1")


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_that_teach_nothing_are_dropped_and_counted(tmp_path: Path, suffix: str) -> None:
    good = hub_row(PLAIN)
    unexplained = {"explanation_1": None, "explanation_2": "  ", "explanation_3": None}
    rows = [good, good | {"label": -1}, good | {"label": None}, good | {"premise": " "}]
    rows += [good | {"hypothesis": None}, good | unexplained, good | {"label": 2}]
    corpus = read_source(folder_of(tmp_path, rows, suffix))
    assert [example.label for example in corpus.train] == ["entailment", "contradiction"]
    assert corpus.dropped == {
        "train": {"no gold label": 2, "no premise": 1, "no hypothesis": 1, "no explanation": 1},
        "validation": {},
    }


def test_the_authors_dash_is_no_label(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [PLAIN, replace(PLAIN, label="-")])
    write_csv(tmp_path / "dev.csv", [PLAIN])
    corpus = read_source(str(tmp_path))
    assert contents(corpus.train) == [PLAIN]
    assert corpus.dropped["train"] == {"no gold label": 1}


def test_a_later_explanation_fills_in_for_a_missing_first(tmp_path: Path) -> None:
    row = hub_row(PLAIN) | {"explanation_1": None, "explanation_3": "Third."}
    source = folder_of(tmp_path, [row], "parquet")
    assert read_source(source).train[0].explanations == ("Third.",)


@pytest.mark.parametrize("label", ["entails", 3, "0.5", 1.5])
def test_an_unknown_label_is_refused_with_its_row(tmp_path: Path, label: object) -> None:
    source = folder_of(tmp_path, [hub_row(PLAIN), hub_row(PLAIN) | {"label": label}], "csv")
    with pytest.raises(DataError, match=rf"train\.csv line 3: {BAD_LABELS}, got '{label}'"):
        read_source(source)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    row = hub_row(PLAIN)
    source = folder_of(tmp_path, [{"text": row.pop("premise")} | row], "jsonl")
    expected = r"train\.jsonl: must have the columns Sentence1.*got text, hypothesis, label"
    with pytest.raises(DataError, match=expected):
        read_source(source)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"", b'"\xff\xfe{{{\x00'])
def test_a_file_that_is_not_its_format_is_named(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    source = folder_of(tmp_path, [hub_row(PLAIN)], suffix)
    path = tmp_path / f"train.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}( line 1)?: must "):
        read_source(source)


def test_a_cut_parquet_is_named(tmp_path: Path) -> None:
    source = folder_of(tmp_path, [hub_row(PLAIN)], "parquet")
    path = tmp_path / "train.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train\.parquet: must be readable parquet, got: "):
        read_source(source)


def test_a_header_without_rows_is_an_empty_split(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [])
    write_csv(tmp_path / "dev.csv", [PLAIN])
    with pytest.raises(DataError, match=r"the train split has no usable row \(it is empty\)"):
        read_source(str(tmp_path))


def test_a_split_of_dropped_rows_says_why(tmp_path: Path) -> None:
    source = folder_of(tmp_path, [hub_row(PLAIN) | {"label": -1}] * 3)
    with pytest.raises(DataError, match=r"no usable row \(3 dropped: no gold label\)"):
        read_source(source)


def test_one_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    source = folder_of(tmp_path, [hub_row(PLAIN)], "csv")
    write_rows(tmp_path / "train.parquet", [hub_row(PLAIN)])
    expected = r"one format a split, got train\.csv, train\.parquet; remove"
    with pytest.raises(DataError, match=expected):
        read_source(source)


def test_a_folder_without_a_split_lists_what_it_has(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [PLAIN])
    (tmp_path / "notes.txt").touch()
    expected = r"no validation file, got notes\.txt, train\.csv; name one validation\.csv"
    with pytest.raises(DataError, match=expected):
        read_source(str(tmp_path))


def test_an_empty_folder_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no train file, got an empty folder"):
        read_source(str(tmp_path))


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "train.csv", [PLAIN])
    with pytest.raises(DataError, match=r"must be a directory, got the file .*; name its folder"):
        read_source(str(path))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such directory, got .*/nothing; use a folder"):
        read_source(str(tmp_path / "nothing"))


class FakeHub:
    """A `datasets.load_dataset` from memory, or one that fails as without a network."""

    def __init__(self, rows: list[dict[str, Any]] | None) -> None:
        self.rows = rows
        self.asked: list[tuple[str, str | None, str]] = []

    def __call__(self, name: str, *, revision: str | None, split: str) -> datasets.Dataset:
        self.asked.append((name, revision, split))
        if self.rows is None:
            raise ConnectionError("Couldn't reach\n  the hub")
        return datasets.Dataset.from_list(self.rows)


def fake_hub(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] | None) -> FakeHub:
    hub = FakeHub(rows)
    monkeypatch.setattr(datasets, "load_dataset", hub)
    return hub


@pytest.mark.parametrize(
    ("source", "name", "revision"),
    [
        ("esnli", "esnli/esnli", "refs/convert/parquet"),
        ("someone/pairs", "someone/pairs", None),
        ("someone/pairs@v1.0", "someone/pairs", "v1.0"),
    ],
)
def test_the_hub_is_asked_for_both_splits(
    monkeypatch: pytest.MonkeyPatch, source: str, name: str, revision: str | None
) -> None:
    hub = fake_hub(monkeypatch, [hub_row(example) for example in EXAMPLES])
    corpus = read_source(source)
    assert hub.asked == [(name, revision, "train"), (name, revision, "validation")]
    assert contents(corpus.train) == contents(corpus.validation) == EXAMPLES


def test_without_a_network_the_error_names_the_ways_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_hub(monkeypatch, None)
    expected = (
        r"'esnli' must be reachable on the hub, got ConnectionError: Couldn't reach the hub; "
        r"use --data DIR for files on disk, or --profile mini"
    )
    with pytest.raises(DataError, match=expected) as caught:
        read_source("esnli")
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_hub_set_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub(monkeypatch, [{"text": "a", "label": 0}])
    with pytest.raises(DataError, match=r"someone/films \(train\): must have the columns"):
        read_source("someone/films")


def test_the_built_in_corpus_needs_no_files() -> None:
    corpus = read_source("mini-nli")
    assert len(corpus.train) > len(corpus.validation) > 0
    assert corpus.dropped == {}
