"""Reads JSON Lines as pandas and datasets write it: one object a line.

A missing key is a missing cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.cells import shown
from tune_distill.tasks.layouts import Table, known_columns, layout_of
from tune_distill.tasks.text_lines import numbered_lines

_REMEDY = "write one object a line (pandas: to_json(..., orient='records', lines=True))"


def read_jsonl(path: Path, task: TaskDescription) -> Table:
    """Return the rows of a file with an object on each line.

    Raises:
        DataError: a line is not an object or has a key twice, or no line has a needed column.
    """
    known = known_columns(task)
    # A line may lack keys, so the columns are known only after all lines.
    names: dict[str, None] = {}
    rows: list[tuple[int, dict[str, Any]]] = []
    for line, found in _objects(path):
        names |= dict.fromkeys(found)
        rows.append((line, {name: found[name] for name in found.keys() & known}))
    if not rows:
        raise DataError(f"{path}: must be JSON Lines, got an empty file; {_REMEDY}")
    layout = layout_of(list(names), str(path), task)
    cells = ((line, [row.get(name) for name in layout.names]) for line, row in rows)
    return Table(str(path), "line", layout, cells, task.labels or ())


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Only a line feed ends a line, because a text may hold U+2028 and similar characters.
    for number, line in numbered_lines(path, newline="\n"):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            found = json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path} line {number}: must be a JSON object, got {_fault(error)}; {_REMEDY}"
            ) from error
        if not isinstance(found, dict):
            raise DataError(
                f"{path} line {number}: must be a JSON object, got {shown(found)}; {_REMEDY}"
            )
        yield number, found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} twice")
    return found


def _constant(name: str) -> float:
    """Return NaN, which Python's json writes for a missing cell of pandas.

    Raises:
        ValueError: it is another constant.
    """
    if name != "NaN":
        raise ValueError(f"the number {name}")
    return float("nan")


def _fault(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "too deep a nesting" if isinstance(error, RecursionError) else str(error)
