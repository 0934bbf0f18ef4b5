"""Reads the files of a model's folder once, so that the bytes digested are the bytes loaded.

A folder may change between two readings, so this module reads no file twice. Loaders that need a
folder get one with copies of the digested bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

LIMIT_BYTES = 64 * 2**20
"""The largest file that is read, except safetensors; the largest tokenizers have 40 MB."""

_UNLIMITED = ".safetensors"


class PackageError(Exception):
    """A file of the folder cannot be read as a part of the package; the message says why."""


@dataclass(frozen=True)
class PackageFiles:
    """The contents of a package's files, by name."""

    contents: Mapping[str, bytes]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the names and contents of all files, in the order of their names."""
        digest = hashlib.sha256()
        for name in sorted(self.contents):
            content = hashlib.sha256(self.contents[name]).hexdigest()
            digest.update(f"{name}:{content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    @contextmanager
    def copied(self, names: Iterable[str] | None = None) -> Iterator[Path]:
        """Yield a temporary folder with copies of these files, or only of those in `names`."""
        with tempfile.TemporaryDirectory(prefix="tune-distill-") as folder:
            for name in self.contents if names is None else names:
                (Path(folder) / name).write_bytes(self.contents[name])
            yield Path(folder)


def read_package(folder: Path, patterns: Iterable[str]) -> PackageFiles:
    """Read the folder's files that match a pattern, such as `config.json` or `model*.safetensors`.

    Raises:
        PackageError: a match is not a regular file (but a folder, a broken link, a device), or is
            too large.
        OSError: the machine cannot read a file.
    """
    names = matching_files(folder, patterns)
    return PackageFiles({name: _read(folder / name) for name in names})


def matching_files(folder: Path, patterns: Iterable[str]) -> list[str]:
    """Return the names of the files that match a pattern, sorted.

    Raises:
        PackageError: a match is not a regular file.
    """
    wanted = list(patterns)
    names = [name for name in os.listdir(folder) if any(fnmatchcase(name, each) for each in wanted)]
    for name in names:
        _require_regular(folder / name)
    return sorted(names)


def parse_json(name: str, content: bytes) -> dict[str, Any]:
    """Return the object in a JSON file of a package.

    Raises:
        PackageError: the content is not UTF-8, not JSON, nested too deeply, or not an object.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise PackageError(f"{name} must be JSON: {reason}; save it again") from error
    if not isinstance(value, dict):
        raise PackageError(f"{name} must be a JSON object, got {value!r:.80}")
    return value


def _require_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise PackageError(f"{path} must be a file, got a link that leads nowhere") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise PackageError(f"{path} must be a file, got {what}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > LIMIT_BYTES and path.suffix != _UNLIMITED:
                raise PackageError(f"{path} must have at most {LIMIT_BYTES} bytes, got {size}")
            content = stream.read(size + 1)
    except FileNotFoundError as error:
        raise PackageError(f"{path} was removed while it was read; try again") from error
    if len(content) != size:
        raise PackageError(f"{path} changed while it was read; try again")
    return content
