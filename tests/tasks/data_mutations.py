"""Seeded data files of every format, intact and damaged, for the fuzz of data folders."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.nli import LABELS

Row = dict[str, Any]

HUB = ("premise", "hypothesis", "label", "explanation_1", "explanation_2")
AUTHORS = ("Sentence1", "Sentence2", "gold_label", "Explanation_1", "Explanation_2")
TEXTS = [
    "A man, tall, runs.",
    'She says "no" and "yes"',
    "two\nlines",
    "carriage\r\nreturn",
    "None",
    "NaN",
    "007",
    "1e5",
    "true",
    "Zürich’s café 😀",
    "拥抱的女人",
    " padded ",
    "tab\tinside",
    "semi; colon",
    "line\u2028separator",
    "#hash",
    "-",
]


@dataclass
class Made:
    """A file of a split: its bytes and suffix.

    `must_read` says that refusing it is a fault; `label_names` are its names of numbered labels.
    """

    suffix: str
    content: bytes
    must_read: bool
    label_names: tuple[str, ...] = LABELS
    what: list[str] = field(default_factory=list)


def made(seed: int) -> Made:
    """Return the file of this seed, which determines the format and the faults."""
    rng = random.Random(f"data {seed}")
    rows = _rows(rng)
    return (_csv, _jsonl, _parquet)[seed % 3](rng, rows)


def _rows(rng: random.Random) -> list[Row]:
    columns = rng.choice((HUB, AUTHORS))
    rows = []
    for _ in range(rng.randint(3, 8)):
        texts = rng.choices(TEXTS, k=4)
        label = rng.choice((*LABELS, "Neutral ", "-", "", 0, 1, 2, -1))
        row: Row = dict(zip(columns, (*texts[:2], label, *texts[2:]), strict=True))
        if rng.random() < 0.2:
            row[columns[4]] = None
        rows.append(row)
    # Make at least one row usable.
    rows[0][columns[2]] = "neutral"
    rows[0][columns[0]] = "a man runs"
    if rng.random() < 0.4:
        for number, row in enumerate(rows):
            row["extra"] = rng.choice((number, None, "x,y"))
    if rng.random() < 0.3:
        for row in rows:
            row["pairID"] = f"id {rng.randint(0, 3)}"
    return rows


def _csv(rng: random.Random, rows: list[Row]) -> Made:
    frame = pd.DataFrame(rows)
    way = rng.choice(("minimal", "all", "pandas", "crlf"))
    if way == "pandas":
        text = frame.to_csv()
    else:
        quoting = csv.QUOTE_ALL if way == "all" else csv.QUOTE_MINIMAL
        end = "\r\n" if way == "crlf" else "\n"
        text = frame.to_csv(index=False, quoting=quoting, lineterminator=end)
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16"))
    made = Made(".csv", b"", True, what=[way, encoding])
    if rng.random() < 0.2:
        made.what.append("blank lines")
        text += "\n\n"
    if rng.random() < 0.6:
        spoil = rng.choice(_CSV_SPOILS)
        made.must_read = False
        made.what.append(spoil.__name__)
        text = spoil(rng, text, frame)
    return _spoilt_bytes(rng, made, text.encode(encoding))


def _comma(rng: random.Random, text: str, _: pd.DataFrame) -> str:
    position = rng.randrange(len(text))
    return f"{text[:position]},{text[position:]}"


def _no_comma(rng: random.Random, text: str, _: pd.DataFrame) -> str:
    position = rng.choice([place for place, character in enumerate(text) if character == ","])
    return text[:position] + text[position + 1 :]


def _quote(rng: random.Random, text: str, _: pd.DataFrame) -> str:
    position = rng.randrange(len(text))
    return f'{text[:position]}"{text[position:]}'


def _nul(rng: random.Random, text: str, _: pd.DataFrame) -> str:
    position = rng.randrange(len(text))
    return f"{text[:position]}\0{text[position:]}"


def _separator(rng: random.Random, _: str, frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, sep=rng.choice(";\t|")))


def _no_header(_: random.Random, __: str, frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, header=False))


def _lacking(rng: random.Random, _: str, frame: pd.DataFrame) -> str:
    return str(frame.drop(columns=rng.choice(list(frame.columns))).to_csv(index=False))


def _twice(rng: random.Random, _: str, frame: pd.DataFrame) -> str:
    doubled = pd.concat([frame, frame[[rng.choice(list(frame.columns))]]], axis=1)
    return str(doubled.to_csv(index=False))


def _cut(rng: random.Random, text: str, _: pd.DataFrame) -> str:
    return text[: rng.randrange(len(text))]


Spoil = Callable[[random.Random, str, pd.DataFrame], str]
_CSV_SPOILS: list[Spoil] = [
    _comma,
    _no_comma,
    _quote,
    _nul,
    _separator,
    _no_header,
    _lacking,
    _twice,
    _cut,
]


def _jsonl(rng: random.Random, rows: list[Row]) -> Made:
    way = rng.choice(("json", "ascii", "pandas"))
    made = Made(".jsonl", b"", True, what=[way])
    if rng.random() < 0.6:
        made.must_read = False
        made.what.append("cells")
        row = rng.choice(rows)
        name = rng.choice(list(row))
        row[name] = rng.choice((5, 1.5, True, ["a"], {"a": 1}, float("nan"), float("inf"), 1.0))
    if rng.random() < 0.3:
        del rows[-1][rng.choice([name for name in rows[-1] if name != "pairID"])]
    if way == "pandas":
        text = pd.DataFrame(rows).to_json(orient="records", lines=True)
    else:
        lines = [json.dumps(row, ensure_ascii=way == "ascii") + "\n" for row in rows]
        text = "".join(lines)
    if rng.random() < 0.2:
        made.must_read = False
        spoil = rng.choice((_comma, _quote, _nul, _cut, _array, _key_twice, _surrogate))
        made.what.append(spoil.__name__)
        text = spoil(rng, text, pd.DataFrame(rows))
    if rng.random() < 0.2:
        text = text.replace("\n", "\n\n")
    encoding = rng.choice(("utf-8", "utf-8-sig"))
    return _spoilt_bytes(rng, made, text.encode(encoding))


def _array(_: random.Random, __: str, frame: pd.DataFrame) -> str:
    return str(frame.to_json(orient="records"))


def _key_twice(_: random.Random, text: str, __: pd.DataFrame) -> str:
    return text.replace("{", '{"premise": "a", "premise": "b", ', 1)


def _surrogate(_: random.Random, text: str, __: pd.DataFrame) -> str:
    return text.replace("a man", r"\ud83d", 1)


def _spoilt_bytes(rng: random.Random, made: Made, content: bytes) -> Made:
    """Change a byte of some files."""
    if rng.random() < 0.2:
        made.must_read = False
        made.what.append("byte")
        position = rng.randrange(len(content))
        content = content[:position] + bytes([rng.randrange(256)]) + content[position + 1 :]
    made.content = content
    return made


def text_types(*types: pa.DataType) -> list[pa.DataType]:
    """Return those of the types to which this version of pyarrow can cast texts."""
    found = []
    for kind in types:
        with suppress(pa.ArrowNotImplementedError):
            pa.array(["aa"]).cast(kind)
            found.append(kind)
    return found


_TYPES = text_types(
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int8(), pa.string()),
)


def _parquet(rng: random.Random, rows: list[Row]) -> Made:
    names = list(rows[0])
    label = names[2]
    kind = rng.choice(("texts", "numbers", "reals", "named"))
    made = Made(".parquet", b"", True, what=[kind])
    columns: dict[str, pa.Array] = {}
    for name in names:
        cells = [None if row[name] is None else str(row[name]) for row in rows]
        columns[name] = pa.array(cells).cast(rng.choice(_TYPES))
    numbers = [rng.choice((0, 1, 2, -1)) for _ in rows]
    numbers[0] = 1
    if kind == "numbers":
        columns[label] = pa.array(numbers, rng.choice((pa.int8(), pa.int64())))
    elif kind == "reals":
        columns[label] = pa.array([float("nan"), *map(float, numbers)][1:] or [1.0])
    table = pa.table(columns)
    if kind == "named":
        made.label_names = tuple(rng.sample(LABELS, 3))
        feature = {"names": list(made.label_names), "_type": "ClassLabel"}
        about = json.dumps({"info": {"features": {label: feature}}})
        table = table.set_column(2, label, pa.array(numbers)).replace_schema_metadata(
            {"huggingface": about}
        )
    if rng.random() < 0.3:
        made.what.append("column")
        made.must_read = False
        name = rng.choice(names)
        others: list[pa.Array] = [
            pa.array(range(len(rows))),
            pa.nulls(len(rows)),
            pa.array([["a"]] * len(rows)),
            pa.array([b"\xff"] * len(rows)),
            pa.array([True] * len(rows)),
        ]
        table = table.set_column(names.index(name), name, rng.choice(others))
    stream = io.BytesIO()
    if rng.random() < 0.3:
        table.to_pandas().to_parquet(stream, index=True)
        # pandas keeps only its own metadata.
        made.label_names = LABELS
    else:
        pq.write_table(table, stream, use_dictionary=rng.random() < 0.5, row_group_size=3)
    content = stream.getvalue()
    if rng.random() < 0.15:
        made.what.append("cut")
        made.must_read = False
        content = content[: rng.randrange(len(content))]
    made.content = content
    return made


def write(made: Made, folder: Path, split: str) -> Path:
    """Write the file under the name of the split, and return its path."""
    path = folder / f"{split}{made.suffix}"
    path.write_bytes(made.content)
    return path
