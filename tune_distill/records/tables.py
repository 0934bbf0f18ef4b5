"""Rows become Parquet files that appear whole: trials, history, predictions and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tune_distill.records.files import atomic_file
from tune_distill.records.schemas import (
    EXAMPLES,
    HISTORY,
    PREDICTIONS,
    SCORED,
    Column,
    schema,
)
from tune_distill.spec.errors import StoreError

TRIALS_FILE = "trials.parquet"


class Scored(Protocol):
    """A scored answer with an attribute for each column of SCORED."""

    @property
    def example_id(self) -> str: ...


class ExampleTexts(Protocol):
    """A validation example as readers of its answers need it."""

    @property
    def example_id(self) -> str: ...

    @property
    def premise(self) -> str: ...

    @property
    def hypothesis(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def explanations(self) -> Sequence[str]: ...


def write_predictions(path: Path, rows: Sequence[Scored]) -> None:
    """`path` holds one row for each scored answer, as the store keeps them: without a trial."""
    columns = {
        column.name: pa.array([getattr(row, column.name) for row in rows], column.type)
        for column in SCORED
    }
    pq.write_table(pa.table(columns, schema=schema(SCORED)), path)


def write_trials(
    folder: Path, rows: Sequence[Mapping[str, Any]], columns: tuple[Column, ...]
) -> None:
    """`trials.parquet` and `trials.csv` hold these rows."""
    table = _table(rows, columns)
    with atomic_file(folder / TRIALS_FILE) as temporary:
        pq.write_table(table, temporary)
    with atomic_file(folder / "trials.csv") as temporary:
        pacsv.write_csv(table, temporary)


def write_history(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`history.parquet` holds these rows."""
    with atomic_file(folder / "history.parquet") as temporary:
        pq.write_table(_table(rows, HISTORY), temporary)


def write_examples(folder: Path, examples: Iterable[ExampleTexts]) -> None:
    """`examples.parquet` holds a row for each of these."""
    rows = [
        {
            "example_id": example.example_id,
            "premise": example.premise,
            "hypothesis": example.hypothesis,
            "gold_label": example.label,
            "explanations": list(example.explanations),
        }
        for example in examples
    ]
    with atomic_file(folder / "examples.parquet") as temporary:
        pq.write_table(_table(rows, EXAMPLES), temporary)


def write_all_predictions(
    folder: Path, parts: Iterable[tuple[str, str, AbstractContextManager[Path]]]
) -> None:
    """`predictions.parquet` holds the rows of every (trial_id, where, stored predictions).

    One part at a time: neither memory nor copies of files grow with the number of trials.
    """
    target = schema(PREDICTIONS)
    with (
        atomic_file(folder / "predictions.parquet") as temporary,
        pq.ParquetWriter(temporary, target) as writer,
    ):
        for trial_id, where, stored in parts:
            table = _stored_predictions(where, stored)
            ids = pa.array([trial_id] * table.num_rows, pa.string())
            writer.write_table(table.add_column(0, target.field("trial_id"), ids))


def _stored_predictions(where: str, stored: AbstractContextManager[Path]) -> pa.Table:
    try:
        with stored as path:
            return pq.read_table(path, schema=schema(SCORED))
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise StoreError(
            f"{where}: must hold predictions, got {reason}; remove {Path(where).parent} and run "
            "the command again to make it again"
        ) from error


def _table(rows: Sequence[Mapping[str, Any]], columns: tuple[Column, ...]) -> pa.Table:
    arrays = [pa.array([row[column.name] for row in rows], column.type) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema(columns))
