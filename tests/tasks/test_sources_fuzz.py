"""Each data file is read as by pandas under the documented rules, or refused with its name."""

from __future__ import annotations

import codecs
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.nli import LABELS, read_source
from tests.tasks.data_mutations import AUTHORS, HUB, Made, made, write
from tune_distill.spec.errors import DataError
from tune_distill.tasks.sources import RawCorpus

NUM_FILES = 300
GOOD = b"premise,hypothesis,label,explanation_1\na dog,a cat,0,because\n"

Content = tuple[str, str, str, tuple[str, ...]]


@pytest.mark.parametrize("seed", range(NUM_FILES))
def test_a_file_is_read_as_pandas_reads_it_or_refused(tmp_path: Path, seed: int) -> None:
    one = made(seed)
    path = write(one, tmp_path, "train")
    (tmp_path / "validation.csv").write_bytes(GOOD)
    corpus = read_or_refusal(tmp_path)
    if isinstance(corpus, str):
        # A fault in a row names the row; a fault in the file names only the file.
        assert re.match(rf"{path}( (line|row) \d+)?: |{tmp_path}: the train split has no", corpus)
        assert len(corpus) < 1000
        assert not one.must_read, (one.what, corpus)
        return
    found = [(*e.inputs, e.label, e.explanations) for e in corpus.train]
    expected = oracle(path, one)
    assert found == expected, one.what
    read = corpus.read["train"]
    assert sum(read.rows_of.values()) == len(found) + sum(read.dropped.values())


def read_or_refusal(folder: Path) -> RawCorpus | str:
    try:
        return read_source(str(folder))
    except DataError as error:
        return str(error)


def test_the_fuzz_both_reads_and_refuses() -> None:
    files = [made(seed) for seed in range(NUM_FILES)]
    assert sum(each.must_read for each in files) > NUM_FILES // 6
    assert {each.suffix for each in files} == {".csv", ".jsonl", ".parquet"}


def oracle(path: Path, one: Made) -> list[Content]:
    """Return the usable rows as pandas reads the file, by the rules of docs/studies.md."""
    frame = as_pandas(path)
    columns = AUTHORS if set(AUTHORS[:3]) <= set(frame.columns) else HUB
    found = []
    for row in frame.to_dict("records"):
        label = label_by_rule(row.get(columns[2]), one.label_names)
        premise, hypothesis, *others = (
            text_by_rule(row.get(c)) for c in (*columns[:2], *columns[3:])
        )
        explanations = tuple(text for text in others if text)
        if label and premise and hypothesis and explanations:
            found.append((premise, hypothesis, label, explanations))
    return found


def as_pandas(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path).reset_index()
    utf16 = path.read_bytes()[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if utf16 else "utf-8-sig"
    if path.suffix == ".csv":
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, index_col=False, encoding=encoding
        )
    return pd.read_json(path, lines=True, dtype=False, encoding=encoding, orient="records")


def label_by_rule(cell: Any, names: tuple[str, ...]) -> str | None:
    text = cell.decode() if isinstance(cell, bytes) else str(cell)
    text = text.strip().lower()
    if text in LABELS:
        return text
    return {"0": names[0], "1": names[1], "2": names[2]}.get(text.removesuffix(".0"))


def text_by_rule(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    assert isinstance(cell, str | bytes), "a text that is none was read"
    return (cell.decode() if isinstance(cell, bytes) else cell).strip()
