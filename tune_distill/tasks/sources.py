"""e-SNLI examples are read from wherever they are: files, the hub, or the built-in generator.

Two column layouts are understood, in CSV, JSONL and Parquet: the authors' (`Sentence1`,
`Sentence2`, `gold_label`, `Explanation_1..3`) and the hub's (`premise`, `hypothesis`, `label`,
`explanation_1..3`). docs/studies.md says what cells may hold.
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
from tune_distill.spec.profile import MINI_CORPUS
from tune_distill.tasks.data_folder import READERS, read_file, split_files
from tune_distill.tasks.hub import cache_if_unreachable
from tune_distill.tasks.hub_sets import ESNLI, hub_name, read_hub_set
from tune_distill.tasks.layouts import Table
from tune_distill.tasks.memory import Room
from tune_distill.tasks.mini.corpus import mini_nli
from tune_distill.tasks.table_examples import read_table, require_no_copy

SPLITS = ("train", "validation")


@dataclass
class SplitRead:
    """What one split was read from: rows of each file or hub set, and how many rows were dropped
    for which reason."""

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
        """Of each split, how many rows were dropped for which reason."""
        return {split: each.dropped for split, each in self.read.items()}


def read_source(source: str) -> RawCorpus:
    """The examples of `data.source`.

    Raises:
        DataError: nothing is there, it cannot be read whole, or no row is usable.
    """
    if source == MINI_CORPUS:
        return RawCorpus(mini_nli("train"), mini_nli("validation"), {})
    with _readable(source):
        path = _path(source)
        if path.is_dir():
            return _corpus(source, lambda split, room: _read_folder(path, split, room))
        if path.exists():
            raise DataError(
                f"data.source: must be a directory, got the file {source}; name its folder"
            )
    if (name := hub_name(source)) is not None:
        repository, _, revision = name.partition("@")
        with cache_if_unreachable(repository, "dataset", revision or None):
            return _corpus(source, lambda split, room: _read_hub(source, split, room))
    raise DataError(
        f"data.source: no such directory, got {source}; "
        f"use a folder with train and validation files, {ESNLI!r} for the hub, or {MINI_CORPUS!r}"
    )


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Faults of reading as one DataError."""
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


Tables = Callable[[str, Room], Iterator[tuple[str, Table]]]


def _corpus(source: str, tables: Tables) -> RawCorpus:
    room = Room()
    examples: dict[str, list[Example]] = {}
    read: dict[str, SplitRead] = {}
    for split in SPLITS:
        examples[split], read[split] = _read_split(source, split, tables(split, room), room)
        if not examples[split]:
            dropped = read[split].dropped.items()
            why = ", ".join(f"{count} dropped: {reason}" for reason, count in dropped)
            raise DataError(
                f"{source}: the {split} split has no usable row ({why or 'it is empty'})"
            )
    return RawCorpus(examples["train"], examples["validation"], read)


def _read_folder(folder: Path, split: str, room: Room) -> Iterator[tuple[str, Table]]:
    for path in split_files(folder, split):
        with _readable(str(path)):
            yield path.name, read_file(path, room)


def _read_hub(source: str, split: str, room: Room) -> Iterator[tuple[str, Table]]:
    yield hub_name(source) or source, read_hub_set(source, split, room)


def _read_split(
    source: str, split: str, tables: Iterator[tuple[str, Table]], room: Room
) -> tuple[list[Example], SplitRead]:
    """The split's examples, from all its tables one after the other, each under its own id."""
    read = SplitRead()
    parts: dict[str, list[Example]] = {}
    dropped: Counter[str] = Counter()
    for name, table in tables:
        with _readable(table.where):
            found = read_table(table, split, sum(read.rows_of.values()), room)
        read.rows_of[name] = found.num_rows
        parts[name] = found.examples
        dropped.update(found.dropped)
    require_no_copy(source, parts)
    read.dropped.update(dropped)
    return with_unique_ids([each for part in parts.values() for each in part]), read
