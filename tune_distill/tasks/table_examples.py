"""Turns a table's rows into examples, counts dropped rows by reason, and locates malformed ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tune_distill.records.examples import Example
from tune_distill.spec.errors import DataError
from tune_distill.tasks.layouts import Table
from tune_distill.tasks.memory import Room
from tune_distill.tasks.task import Task


@dataclass(frozen=True)
class TableRead:
    """The usable examples of one table, its number of rows, and dropped rows by reason."""

    examples: list[Example]
    num_rows: int
    dropped: Mapping[str, int]


def read_table(table: Table, task: Task, default_id: str, first_row: int, room: Room) -> TableRead:
    """Return the table's examples in its order, as the task reads its rows.

    A row without an id gets `default_id` and its number in the split; `first_row` is the number of
    the table's first row.

    Raises:
        DataError: a cell is malformed, or the examples do not fit into memory.
    """
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    num_rows = 0
    for number, cells in table.rows:
        try:
            values = dict(zip(table.layout.names, cells, strict=True))
            example = task.read(values, table.layout, table.label_names)
        except ValueError as error:
            raise DataError(f"{table.row_name(number)}: {error}; correct the row") from error
        if isinstance(example, str):
            dropped[example] += 1
        else:
            room.take(table.where, 1, _num_bytes(example))
            if not example.example_id:
                example = replace(example, example_id=f"{default_id}-{first_row + num_rows}")
            examples.append(example)
        num_rows += 1
    return TableRead(examples, num_rows, dropped)


def require_no_copy(where: str, parts: Mapping[str, Sequence[Example]]) -> None:
    """Raise DataError if all examples of one file are in another file of the split."""
    if len(parts) < 2:
        return
    contents = {name: {each.digest() for each in part} for name, part in parts.items() if part}
    for name, content in contents.items():
        for other, whole in contents.items():
            if name != other and content <= whole:
                raise DataError(
                    f"{where}: files of a split must hold different rows, got all of {name} "
                    f"also in {other}; remove one"
                )


def _num_bytes(example: Example) -> int:
    return sum(map(len, (*example.inputs, *example.choices, *example.explanations)))
