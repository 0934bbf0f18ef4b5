"""Finds the files of a folder that hold the data of each split."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from tune_distill.spec.errors import DataError
from tune_distill.spec.task import TaskDescription
from tune_distill.tasks.arrow_rows import read_parquet
from tune_distill.tasks.csv_rows import read_csv
from tune_distill.tasks.jsonl_rows import read_jsonl
from tune_distill.tasks.layouts import Table
from tune_distill.tasks.memory import Room

_SPLIT_WORDS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}}

_LITTER = (".", "~", "#")
"""First characters of the names of hidden files and of editors' and office programs' own files."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def split_files(folder: Path, split: str) -> list[Path]:
    """Return the files of one split in name order, all regular files of one format.

    Raises:
        DataError: there are none, they are of several formats, or one is not a regular file.
    """
    present = sorted(path for path in folder.iterdir() if not path.name.startswith(_LITTER))
    files = [path for path in present if path.suffix in READERS and _split_of(path) == split]
    if not files:
        raise DataError(
            f"{folder}: no {split} file, got {_listing(present)}; "
            f"name one {split}.csv, {split}.jsonl or {split}.parquet"
        )
    if len({path.suffix for path in files}) > 1:
        names = ", ".join(path.name for path in files)
        raise DataError(f"{folder}: one format a split, got {names}; remove the copies")
    for path in files:
        _require_file(path)
    return files


def read_file(path: Path, room: Room, task: TaskDescription) -> Table:
    """Return the rows of a file, whose suffix names its format."""
    return READERS[path.suffix](path, room, task)


Reader = Callable[[Path, Room, TaskDescription], Table]


def _read_text(read: Callable[[Path, TaskDescription], Table]) -> Reader:
    def reading(path: Path, room: Room, task: TaskDescription) -> Table:
        room.require(path, 0, path.stat().st_size)
        return read(path, task)

    return reading


READERS: Mapping[str, Reader] = {
    ".csv": _read_text(read_csv),
    ".jsonl": _read_text(read_jsonl),
    ".parquet": read_parquet,
}


def _split_of(path: Path) -> str | None:
    """Return the split that a word of the file's name says; None if no word does.

    Raises:
        DataError: the name says both splits.
    """
    words = set(re.split(r"[^a-z]+", path.stem.lower()))
    splits = [split for split, names in _SPLIT_WORDS.items() if words & names]
    if len(splits) > 1:
        raise DataError(f"{path}: a name must say one split, got {' and '.join(splits)}; rename it")
    return splits[0] if splits else None


def _require_file(path: Path) -> None:
    """Raise DataError for anything but a file or a link to one: reading it could hang or fail."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError as error:
        raise DataError(f"{path}: must be a file, got a link to nothing; remove it") from error
    if kind != stat.S_IFREG:
        raise DataError(
            f"{path}: must be a file, got {_KINDS.get(kind, 'something else')}; "
            "copy its content into a file"
        )


def _listing(present: list[Path]) -> str:
    names = [path.name for path in present]
    if not names:
        return "an empty folder"
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
