"""The column layouts of a task, and the rows of a file that has one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import Columns, TaskDescription
from tune_distill.tasks.task import Layout

_SHOWN_NAMES, _SHOWN_LENGTH = 12, 40


@dataclass(frozen=True)
class Table:
    """The rows of one file, or of one split of a hub set.

    `rows` gives each row's number, counted in `unit` ("line" or "row"), and its cells in the order
    of `layout.names`. `label_names` are the labels that the numbers 0, 1, ... stand for.
    """

    where: str
    unit: str
    layout: Layout
    rows: Iterable[tuple[int, Sequence[Any]]]
    label_names: Sequence[str]

    def row_name(self, number: int) -> str:
        """Return the name of a row in messages."""
        return f"{self.where} {self.unit} {number}"


def known_columns(task: TaskDescription) -> frozenset[str]:
    """Return every column that may be read; others are ignored."""
    return frozenset(name for each in task.columns for name in _all_of(each).names)


def layout_of(names: Sequence[str], where: str, task: TaskDescription) -> Layout:
    """Return the layout of a file with these columns: the first of the task's layouts that fits.

    Raises:
        DataError: no layout fits, or the file has a column of its layout twice.
    """
    for columns in task.columns:
        whole = _all_of(columns)
        explanations = tuple(name for name in whole.explanations if name in names)
        if explanations and set(_needed(whole)) <= set(names):
            own_id = whole.example_id if whole.example_id in names else None
            found = Layout(whole.inputs, whole.label, explanations, own_id, whole.choices)
            _require_once(found, names, where)
            return found
    wanted = [
        ", ".join((*_needed(_all_of(columns)), columns.explanations[0])) for columns in task.columns
    ]
    others = f" (or {'; or '.join(wanted[1:])})" if wanted[1:] else ""
    raise DataError(f"{where}: must have the columns {wanted[0]}{others}, got {_listing(names)}")


def _all_of(columns: Columns) -> Layout:
    """Return the layout of a file with all these columns."""
    return Layout(
        tuple(columns.inputs),
        columns.label,
        tuple(columns.explanations),
        columns.id,
        columns.choices,
    )


def _needed(layout: Layout) -> tuple[str, ...]:
    """Return the columns that a file must have besides an explanation."""
    return (*layout.inputs, layout.label, *filter(None, [layout.choices]))


def _require_once(layout: Layout, names: Sequence[str], where: str) -> None:
    twice = [name for name in layout.names if list(names).count(name) > 1]
    if twice:
        raise DataError(f"{where}: a column must be there once, got {twice[0]} twice; rename one")


def _listing(names: Sequence[str]) -> str:
    """Return the names as a message shows them; they may be long texts if there is no header."""
    cut = [name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}..." for name in names]
    more = ", ..." if len(cut) > _SHOWN_NAMES else ""
    return ", ".join(cut[:_SHOWN_NAMES]) + more if cut else "none"
