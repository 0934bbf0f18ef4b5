"""Reads rows of Arrow tables: Parquet files, and hub sets as the library datasets keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.layouts import Table, layout_of
from tune_distill.tasks.memory import Room
from tune_distill.tasks.task import Layout

_METADATA = b"huggingface"


def read_parquet(path: Path, room: Room, task: TaskDescription) -> Table:
    """Return the rows of a Parquet file, counted from 0; only the needed columns are read.

    Raises:
        DataError: a column is missing, label names are not the task's labels, or the columns are
            too large.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        layout = layout_of(schema.names, str(path), task)
        room.require(path, file.metadata.num_rows, _num_bytes(file.metadata, layout))
        leaves = {column.path for column in file.schema}
    numbered = _label_names(schema, layout.label, str(path), task.labels or ())
    # Read texts as dictionaries, which store a text that many rows share only once.
    texts = [name for name in layout.names if name in leaves]
    return Table(str(path), "row", layout, _parquet_cells(path, layout.names, texts), numbered)


def label_names(names: Sequence[str], labels: Sequence[str], where: str) -> Sequence[str]:
    """Return the task's `labels` in the order of the data set's label names, numbered 0, 1, ...

    The result is empty for a task without labels.

    Raises:
        DataError: the names are not the labels, or the labels are numbers that differ from the data
            set's own numbers.
    """
    known = {label.lower(): label for label in labels}
    found = [str(name).strip().lower() for name in names]
    if labels and sorted(found) != sorted(known):
        raise DataError(
            f"{where}: label names must be {', '.join(labels)} in some order, "
            f"got {', '.join(map(str, names))[:200]}; name them so, or write labels as text"
        )
    if any(map(str.isdecimal, labels)) and found != [str(place) for place in range(len(found))]:
        raise DataError(
            f"{where}: labels that are numbers must be stored as text, got numbered label names "
            f"{', '.join(map(str, names))[:200]}; write labels as text"
        )
    return [known[name] for name in found] if labels else ()


def cells_of(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of each row as Python values, in the order of `names`."""
    columns = [_column(table.column(name)) for name in names]
    yield from zip(*columns, strict=True)


def _parquet_cells(
    path: Path, names: Sequence[str], dictionaries: list[str]
) -> Iterator[tuple[int, Sequence[Any]]]:
    with pq.ParquetFile(path, read_dictionary=dictionaries) as file:
        number = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(names))
            for cells in cells_of(table, names):
                yield number, cells
                number += 1


def _column(column: pa.ChunkedArray) -> list[Any]:
    return [cell for chunk in column.chunks for cell in _array(chunk)]


def _array(array: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(array.type):
        _require_indices(array)
        values = [*_array(array.dictionary), None]
        # The last value stands for a null, whose index is -1.
        return [values[index] for index in array.indices.fill_null(-1).to_pylist()]
    try:
        cells: list[Any] = array.to_pylist()
    except UnicodeDecodeError:
        # Arrow does not check that texts are UTF-8. `text_of` reports the rows whose bytes are not.
        return [_text_or_bytes(cell) for cell in array.cast(pa.binary()).to_pylist()]
    return cells


def _require_indices(array: pa.DictionaryArray) -> None:
    """Raise ValueError if an index points outside of the dictionary, as in a damaged file."""
    bounds = pc.min_max(array.indices).as_py()
    for index in (bounds["min"], bounds["max"]):
        if index is not None and not 0 <= index < len(array.dictionary):
            raise ValueError(
                f"an index into its dictionary must be below {len(array.dictionary)}, got {index}; "
                "copy the file again"
            )


def _text_or_bytes(cell: bytes | None) -> str | bytes | None:
    try:
        return None if cell is None else cell.decode()
    except UnicodeDecodeError:
        return cell


def _num_bytes(metadata: pq.FileMetaData, layout: Layout) -> int:
    """Return the number of bytes of the needed columns after decompression."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    # The names of a nested column's parts start with the column's name and a dot.
    needed = tuple(f"{name}." for name in layout.names)
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if f"{chunk.path_in_schema}.".startswith(needed)
    )


def _label_names(
    schema: pa.Schema, column: str, where: str, labels: Sequence[str]
) -> Sequence[str]:
    """Return the label names that `datasets` wrote, or the task's labels if it wrote none."""
    text = (schema.metadata or {}).get(_METADATA)
    if text is None:
        return labels
    try:
        feature = json.loads(text)["info"]["features"].get(column)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{where}: the metadata {_METADATA.decode()!r} must be as datasets writes it, "
            "got another; write the file again"
        ) from error
    if not isinstance(feature, Mapping) or "names" not in feature:
        return labels
    names = feature["names"]
    return label_names(names if isinstance(names, list) else [str(names)], labels, where)
