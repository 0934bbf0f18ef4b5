"""Reads data sets of the hub, or of its cache on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import datasets

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.arrow_rows import cells_of, label_names
from tune_distill.tasks.layouts import Table, layout_of
from tune_distill.tasks.memory import Room
from tune_distill.tasks.task import Layout

_BATCH_ROWS = 2**12


def hub_name(source: str, task: TaskDescription) -> str | None:
    """Return `NAME` or `NAME@REVISION` on the hub; None if the source cannot be such a name."""
    if source in task.hub_sets:
        return task.hub_sets[source]
    is_id = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?", source)
    return source if is_id else None


def read_hub_set(source: str, split: str, room: Room, task: TaskDescription) -> Table:
    """Return the rows of one split.

    Raises:
        DataError: the split is neither on the hub nor in the cache, a column is missing, label
            names are not the task's labels, or the split is too large.
    """
    where = f"{source} ({split})"
    name, _, revision = (hub_name(source, task) or source).partition("@")
    try:
        rows = datasets.load_dataset(name, revision=revision or None, split=split)
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"data.source: {source!r} must be reachable on the hub, got {type(error).__name__}: "
            f"{reason}; use --data DIR for files on disk, or --profile mini, which needs no network"
        ) from error
    layout = layout_of(rows.column_names, where, task)
    room.require(where, len(rows), 0)
    label = rows.features[layout.label]
    labels = task.labels or ()
    names = label.names if isinstance(label, datasets.ClassLabel) else labels
    numbered = label_names(names, labels, where)
    return Table(where, "row", layout, _cells(rows, layout), numbered)


def _cells(rows: Any, layout: Layout) -> Iterator[tuple[int, Sequence[Any]]]:
    number = 0
    batches = rows.select_columns(list(layout.names)).with_format("arrow")
    for table in batches.iter(batch_size=_BATCH_ROWS):
        for cells in cells_of(table, layout.names):
            yield number, cells
            number += 1
