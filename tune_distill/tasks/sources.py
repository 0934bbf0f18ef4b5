"""Reads a task's examples from files, the hub, or a built-in corpus.

Files are CSV, JSONL or Parquet, in one of the task's column layouts. docs/studies.md says what
cells may hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tune_distill.records.examples import Example, with_unique_ids
from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.data_folder import READERS, read_file, split_files
from tune_distill.tasks.hub import cache_if_unreachable
from tune_distill.tasks.hub_sets import hub_name, read_hub_set
from tune_distill.tasks.layouts import Table
from tune_distill.tasks.memory import Room
from tune_distill.tasks.registry import embedded_corpora
from tune_distill.tasks.table_examples import read_table, require_no_copy
from tune_distill.tasks.task import SPLITS, Split, Task


@dataclass
class SplitRead:
    """What one split was read from: rows of each file or hub set, and dropped rows by reason."""

    rows_of: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RawCorpus:
    """The usable examples of a source in file order, and what each split was read from."""

    train: list[Example]
    validation: list[Example]
    read: Mapping[str, SplitRead]

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        """The number of dropped rows of each split, by reason."""
        return {split: each.dropped for split, each in self.read.items()}


def read_source(source: str, task: Task) -> RawCorpus:
    """Return the examples of `data.source`, as the task reads them.

    Raises:
        DataError: there is no such source, it cannot be read completely, or a split has no usable
            row.
    """
    told, embedded = task.description, embedded_corpora()
    if source in embedded:
        return _embedded(source, embedded[source], told)
    with _readable(source):
        path = _path(source)
        if path.is_dir():
            return _corpus(source, task, lambda split, room: _read_folder(path, split, room, told))
        if path.exists():
            raise DataError(
                f"data.source: must be a directory, got the file {source}; name its folder"
            )
    if (name := hub_name(source, told)) is not None:
        repository, _, revision = name.partition("@")
        with cache_if_unreachable(repository, "dataset", revision or None):
            return _corpus(source, task, lambda split, room: _read_hub(source, split, room, told))
    named = [f"{name!r} for the hub" for name in told.hub_sets]
    named += [repr(name) for name, own in embedded.items() if _same(own.description, told)]
    raise DataError(
        f"data.source: no such directory, got {source}; use "
        f"{', or '.join(['a folder with train and validation files', *named])}"
    )


def _embedded(source: str, own: Task, task: TaskDescription) -> RawCorpus:
    """Return a task's built-in corpus for another task with the same inputs and labels."""
    assert own.corpus is not None
    if not _same(own.description, task):
        raise DataError(
            f"data.source: {source} is for tasks with the inputs "
            f"{', '.join(own.description.inputs)} and its labels, got the task {task.name}; "
            "name data of its own"
        )
    return RawCorpus(own.corpus("train"), own.corpus("validation"), {})


def _same(one: TaskDescription, other: TaskDescription) -> bool:
    """Return whether the tasks have the same inputs and labels."""
    return (one.inputs, one.labels) == (other.inputs, other.labels)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turn errors of reading into DataErrors."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        suffix = Path(where).suffix
        kind = suffix[1:] if suffix in READERS else "data"
        raise DataError(f"{where}: must be readable {kind}, got: {reason}") from error
    except MemoryError as error:
        raise DataError(
            f"{where}: must fit into memory, got a larger one; keep fewer rows"
        ) from error


def _path(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:  # no such user
        raise DataError(f"data.source: {error}, got {source}; name the whole path") from error


Tables = Callable[[Split, Room], Iterator[tuple[str, Table]]]


def _corpus(source: str, task: Task, tables: Tables) -> RawCorpus:
    room = Room()
    examples: dict[str, list[Example]] = {}
    read: dict[str, SplitRead] = {}
    for split in SPLITS:
        examples[split], read[split] = _read_split(source, task, split, tables(split, room), room)
        if not examples[split]:
            dropped = read[split].dropped.items()
            why = ", ".join(f"{count} dropped: {reason}" for reason, count in dropped)
            raise DataError(
                f"{source}: the {split} split has no usable row ({why or 'it is empty'})"
            )
    return RawCorpus(examples["train"], examples["validation"], read)


def _read_folder(
    folder: Path, split: Split, room: Room, task: TaskDescription
) -> Iterator[tuple[str, Table]]:
    for path in split_files(folder, split):
        with _readable(str(path)):
            yield path.name, read_file(path, room, task)


def _read_hub(
    source: str, split: Split, room: Room, task: TaskDescription
) -> Iterator[tuple[str, Table]]:
    yield hub_name(source, task) or source, read_hub_set(source, split, room, task)


def _read_split(
    source: str, task: Task, split: Split, tables: Iterator[tuple[str, Table]], room: Room
) -> tuple[list[Example], SplitRead]:
    """Return the split's examples, table after table, with unique ids, and what was read."""
    read = SplitRead()
    parts: dict[str, list[Example]] = {}
    dropped: Counter[str] = Counter()
    for name, table in tables:
        with _readable(table.where):
            found = read_table(table, task, split, sum(read.rows_of.values()), room)
        read.rows_of[name] = found.num_rows
        parts[name] = found.examples
        dropped.update(found.dropped)
    require_no_copy(source, parts)
    read.dropped.update(dropped)
    return with_unique_ids([each for part in parts.values() for each in part]), read
