"""Writers of the Parquet tables: trials, history, predictions and examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tune_distill.records.examples import Example
from tune_distill.records.files import atomic_file
from tune_distill.records.schemas import (
    HISTORY,
    PREDICTIONS,
    SCORED,
    Column,
    examples_columns,
    schema,
)
from tune_distill.spec.errors import StoreError
from tune_distill.spec.task import CHOICES, TaskDescription

TRIALS_FILE = "trials.parquet"
TASK_FILE = "task.yaml"

GROUP_ROWS = 2**16
"""Rows of a row group of a large table; a writer holds one row group in memory."""

# Rows that are Python objects at a time: they take ten times the memory of Arrow's arrays.
_BATCH_ROWS = 2**10


_FORMULA = "^[-=+@\t\r]"
"""Matches texts that a spreadsheet runs as formulas, even if they are quoted in the CSV."""


def write_predictions(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the store's table of scored answers: a row for each, without a trial id."""
    columns = {
        column.name: pa.array([row[column.name] for row in rows], column.type) for column in SCORED
    }
    pq.write_table(pa.table(columns, schema=schema(SCORED)), path)


def write_trials(
    folder: Path, rows: Sequence[Mapping[str, Any]], columns: tuple[Column, ...]
) -> None:
    """Write these rows to `trials.parquet` and `trials.csv`."""
    target = schema(columns)
    _write(folder / TRIALS_FILE, target, _tables(rows, columns))
    with atomic_file(folder / "trials.csv") as temporary, pacsv.CSVWriter(temporary, target) as csv:
        for table in _tables(rows, columns):
            csv.write_table(_without_formulas(table))


def _without_formulas(table: pa.Table) -> pa.Table:
    """Return the table with an apostrophe before each text that a spreadsheet would run."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = table.column(number)
            is_formula = pc.match_substring_regex(texts, _FORMULA)
            quoted = pc.binary_join_element_wise("'", texts, "")
            table = table.set_column(number, field, pc.if_else(is_formula, quoted, texts))
    return table


def write_history(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write these rows to `history.parquet`."""
    _write(folder / "history.parquet", schema(HISTORY), _tables(rows, HISTORY))


def write_examples(folder: Path, task: TaskDescription, examples: Iterable[Example]) -> None:
    """Write a row for each of the task's examples to `examples.parquet`."""
    columns = examples_columns(task)
    rows = [
        {
            "example_id": example.example_id,
            **dict(zip(task.inputs, example.inputs, strict=True)),
            CHOICES: list(example.choices),
            "gold_label": example.label,
            "explanations": list(example.explanations),
        }
        for example in examples
    ]
    _write(folder / "examples.parquet", schema(columns), _tables(rows, columns))


def write_all_predictions(
    folder: Path,
    parts: Iterable[tuple[str, str, bytes]],
    names: Mapping[str, str],
) -> None:
    """Write the rows of every (trial_id, where, stored predictions) to `predictions.parquet`.

    `names` maps the content id of each example, which the store uses, to the study's id. Parts are
    written one at a time, so memory does not grow with the number of trials.

    Raises:
        StoreError: predictions cannot be read, or are not of these examples.
    """
    target, stored_schema = schema(PREDICTIONS), schema(SCORED)
    field = target.field("trial_id")
    renamed = _Renamed(names)

    def tables() -> Iterator[pa.Table]:
        for trial_id, where, stored in parts:
            table = renamed(where, _stored_predictions(where, stored, stored_schema))
            yield table.add_column(0, field, pa.repeat(trial_id, table.num_rows))

    _write(folder / "predictions.parquet", target, tables())


class _Renamed:
    """Replaces the content ids in stored predictions by the study's ids of the examples."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._stored = pa.array(names.keys(), pa.string())
        self._shown = pa.array(names.values(), pa.string())
        self._last: tuple[pa.ChunkedArray, pa.ChunkedArray] | None = None

    def __call__(self, where: str, table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index("example_id")
        column = table.column(position)
        # Trials of one study mostly answer the same examples in the same order: reuse the column.
        if self._last is None or not column.equals(self._last[0]):
            self._last = column, self._shown_ids(where, column)
        return table.set_column(position, table.schema.field(position), self._last[1])

    def _shown_ids(self, where: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        positions = pc.index_in(column, self._stored)
        if positions.null_count:
            raise StoreError(
                f"{where}: must hold answers to this study's examples, got others; remove "
                f"{Path(where).parent} and run the command again to make it again"
            )
        return pc.take(self._shown, positions)


def _write(path: Path, target: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write the rows of these tables to `path` in order.

    Small tables are merged, because a row group of few rows takes as long to write and to read as
    one of many, and a small table takes far more memory than its rows.
    """
    batches = (table.combine_chunks() for table in _gathered(tables, _BATCH_ROWS))
    with atomic_file(path) as temporary, pq.ParquetWriter(temporary, target) as writer:
        for group in _gathered(batches, GROUP_ROWS):
            writer.write_table(group)


def _gathered(tables: Iterable[pa.Table], least: int) -> Iterator[pa.Table]:
    """Yield the rows in order, in tables of at least `least` rows; the last may have fewer."""
    waiting: list[pa.Table] = []
    num_rows = 0
    for table in tables:
        waiting.append(table)
        num_rows += table.num_rows
        if num_rows >= least:
            yield pa.concat_tables(waiting)
            waiting, num_rows = [], 0
    if num_rows:
        yield pa.concat_tables(waiting)


def _stored_predictions(where: str, stored: bytes, expected: pa.Schema) -> pa.Table:
    try:
        with pq.ParquetFile(pa.BufferReader(stored), pre_buffer=False) as file:
            if file.schema_arrow.equals(expected):
                return file.read(use_threads=False)
        # Former versions wrote fewer columns. read_table fills the others with nulls, but takes
        # four times as long.
        return pq.read_table(pa.BufferReader(stored), schema=expected)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise StoreError(
            f"{where}: must hold predictions, got {reason}; run the same command again to make "
            "them again"
        ) from error


def _tables(rows: Iterable[Mapping[str, Any]], columns: tuple[Column, ...]) -> Iterator[pa.Table]:
    """Yield the rows as tables of `_BATCH_ROWS` rows."""
    target, remaining = schema(columns), iter(rows)
    while batch := list(islice(remaining, _BATCH_ROWS)):
        arrays = [pa.array([row[column.name] for row in batch], column.type) for column in columns]
        yield pa.Table.from_arrays(arrays, schema=target)
