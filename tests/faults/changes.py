"""Seeded single changes to a store's files, such as disks, copies and editors make."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Each kind is equally likely, whatever its number of files.
KINDS = (
    "runs/*/run.json",
    "runs/*/identity.json",
    "runs/*/checkpoint.safetensors",
    "runs/*/student-*/model.safetensors",
    "runs/*/student-*/*",
    "evaluations/*/evaluation.json",
    "evaluations/*/predictions.parquet",
    "simulators/*.safetensors",
)


@dataclass(frozen=True)
class Change:
    """A change of a file. `deletes` says whether it removed the file without a replacement."""

    what: str
    file: str

    @property
    def deletes(self) -> bool:
        return self.what == "delete"


def change(store: Path, seed: int) -> Change:
    """Change the content of one file of the store, or exchange two files."""
    chosen = random.Random(seed)
    while True:
        path = chosen.choice(sorted(store.glob(chosen.choice(KINDS))))
        what = chosen.choices(list(_CHANGES), [6, 1, 1, 1, 1, 3, 3, 1])[0]
        if _CHANGES[what](path, chosen):
            return Change(what, str(path.relative_to(store)))


def _flip(path: Path, chosen: random.Random) -> bool:
    return _at(path, chosen, lambda old: old ^ 1 << chosen.randrange(8))


def _zero(path: Path, chosen: random.Random) -> bool:
    return _at(path, chosen, lambda _: 0)


def _at(path: Path, chosen: random.Random, new: Callable[[int], int]) -> bool:
    content = bytearray(path.read_bytes())
    # Half of the changes are in the first kilobyte, where headers are.
    limit = len(content) if chosen.random() < 0.5 else min(1024, len(content))
    position = chosen.randrange(limit)
    old, content[position] = content[position], new(content[position])
    path.write_bytes(content)
    return old != content[position]


def _truncate(path: Path, chosen: random.Random) -> bool:
    os.truncate(path, chosen.randrange(path.stat().st_size))
    return True


def _extend(path: Path, chosen: random.Random) -> bool:
    with path.open("ab") as stream:
        stream.write(chosen.randbytes(chosen.choice((1, 512))))
    return True


def _delete(path: Path, chosen: random.Random) -> bool:
    path.unlink()
    return True


def _edit(path: Path, chosen: random.Random) -> bool:
    """Change a digit of a number in a JSON file."""
    if path.suffix != ".json":
        return False
    text = path.read_text()
    digit = chosen.choice(list(re.finditer(r"\d", text)))
    other = chosen.choice([each for each in "0123456789" if each != digit.group()])
    path.write_text(text[: digit.start()] + other + text[digit.end() :])
    return True


def _exchange(path: Path, chosen: random.Random) -> bool:
    """Exchange two files of the same kind that belong to different entries."""
    entry = path.parents[1] if path.parent.name.startswith("student-") else path.parent
    others = [each for each in entry.parent.glob(f"*/**/{path.name}") if each != path]
    different = [each for each in others if each.read_bytes() != path.read_bytes()]
    if not different:
        return False
    other = chosen.choice(sorted(different))
    aside = path.with_name("exchanged")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)
    return True


def _exchange_entries(path: Path, chosen: random.Random) -> bool:
    """Exchange two whole runs or two whole evaluations."""
    entry = path.parents[1] if path.parent.name.startswith("student-") else path.parent
    others = sorted(each for each in entry.parent.iterdir() if each.is_dir() and each != entry)
    if entry.name == "simulators" or not others:
        return False
    other, aside = chosen.choice(others), entry.with_name("exchanged")
    shutil.move(entry, aside)
    shutil.move(other, entry)
    shutil.move(aside, other)
    return True


_CHANGES: dict[str, Callable[[Path, random.Random], bool]] = {
    "flip": _flip,
    "zero": _zero,
    "truncate": _truncate,
    "extend": _extend,
    "delete": _delete,
    "edit": _edit,
    "exchange": _exchange,
    "exchange entries": _exchange_entries,
}
