"""Reads CSV as spreadsheets, pandas and datasets write it; a malformed row is an error.

Commas separate fields, quotes enclose them, and a quote inside is doubled. Blank lines are skipped.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.layouts import Table, layout_of
from tune_distill.tasks.task import Layout
from tune_distill.tasks.text_lines import numbered_lines

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, task: TaskDescription) -> Table:
    """Return the rows of a CSV file, each with the line on which it begins.

    Raises:
        DataError: the file has no header, other separators, or a missing column; when rows are
            read, also if one has a surplus or missing field, or unbalanced quotes.
    """
    records = _records(path, task)
    first = next(records, None)
    if first is None:
        raise DataError(f"{path}: must be a CSV file with a header, got an empty one")
    header = first[1]
    _require_commas(header, path, task)
    layout = layout_of(header, str(path), task)
    cells = _cells(records, header, layout, path)
    return Table(str(path), "line", layout, cells, task.labels or ())


def _cells(
    records: Iterator[tuple[int, list[str]]], header: list[str], layout: Layout, path: Path
) -> Iterator[tuple[int, Sequence[str]]]:
    positions = [header.index(name) for name in layout.names]
    for line, record in records:
        if len(record) != len(header):
            raise DataError(
                f"{path} line {line}: must have {len(header)} fields, as the header has, "
                f"got {len(record)}; put quotes around a text that holds a comma"
            )
        yield line, [record[position] for position in positions]


def _records(path: Path, task: TaskDescription) -> Iterator[tuple[int, list[str]]]:
    """Yield every record except blank lines, after the line on which it begins."""
    reader = csv.reader((line for _, line in numbered_lines(path, newline="")), strict=True)
    begin = 1
    try:
        for record in reader:
            if not _is_blank(record):
                yield begin, record
            begin = reader.line_num + 1
    except csv.Error as error:
        if begin == 1:
            _require_commas(_first_line(path).split(","), path, task)
        raise DataError(
            f"{path} line {begin}: must be CSV, got {_reason(error)}; enclose texts with quotes or "
            "commas in quotes, and double the quotes inside"
        ) from error


def _is_blank(record: list[str]) -> bool:
    # A line with only two quotes is a record of one empty field, and is not blank.
    return not record or (len(record) == 1 and record[0].isspace())


def _reason(error: csv.Error) -> str:
    """Return the fault in a record, which may span several lines."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quote that is not closed"
    if "field larger" in text:
        return f"a field of over {csv.field_size_limit()} characters, or a quote that is not closed"
    return text


def _require_commas(header: Sequence[str], path: Path, task: TaskDescription) -> None:
    line = ",".join(header)
    for separator, name in _OTHER_SEPARATORS.items():
        names = [field.strip().strip('"') for field in line.split(separator)]
        try:
            layout_of(names, "", task)
        except DataError:
            continue
        raise DataError(
            f"{path} line 1: commas must separate the fields, got {name}; save it again as CSV "
            f"with commas (pandas: read_csv(..., sep={separator!r}).to_csv(..., index=False))"
        )


def _first_line(path: Path) -> str:
    return next((line.rstrip("\r\n") for _, line in numbered_lines(path, newline="")), "")
