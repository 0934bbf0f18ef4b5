"""Stored files by content: size and SHA-256, and whether a file is still what was stored."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from tune_distill.spec.errors import StoreError

# A link where links are not followed, a socket, a file in place of a folder, a folder.
_IRREGULAR = {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR}

# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# To hash a smaller file again costs less than to remember it.
_REMEMBERED_BYTES = 2**16

Version = tuple[int, int, int, int, int]
"""What changes when a file is replaced or written: device, inode, size, times of both changes."""

_hashed: dict[str, tuple[Version, str]] = {}


class DamagedError(StoreError):
    """A stored file is not what was stored."""


@dataclass(frozen=True)
class FileDigest:
    """What a file holds: its size in bytes and its SHA-256 (hex)."""

    __pydantic_config__ = ConfigDict(strict=True)

    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def digest_of(path: Path) -> FileDigest:
    """The file's size and SHA-256. A large file that did not change is hashed once a process.

    Raises:
        DamagedError: no regular file lies there.
        FileNotFoundError: nothing lies there.
    """
    return _measured(path)[0]


def digest_of_bytes(content: bytes) -> FileDigest:
    """The size and SHA-256 of a file with this content."""
    return FileDigest(len(content), hashlib.sha256(content).hexdigest())


def digests_in(folder: Path) -> dict[str, FileDigest]:
    """The digests of all files in the folder and its folders, by their names below it."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in files}


def require(path: str | Path, expected: FileDigest) -> None:
    """Check that the file holds what was stored.

    Raises:
        DamagedError: it does not, or is missing.
    """
    _require(path, expected)


def read_verified(path: Path, expected: FileDigest) -> bytes:
    """Return the content of the file, which is what was stored.

    Raises:
        DamagedError: it holds something else.
        FileNotFoundError: nothing lies there.
    """
    with open_regular(path) as stream:
        content = stream.read()
    _require_same(path, digest_of_bytes(content), expected)
    return content


@contextmanager
def verified(path: Path, expected: FileDigest) -> Iterator[None]:
    """Check the file before the block, and after it that it has not changed meanwhile.

    Raises:
        DamagedError: it does not hold what was stored.
    """
    before = _require(path, expected)
    yield
    if _version(os.lstat(path)) != before:
        raise DamagedError(f"{path.name} changed while it was read")


def open_regular(path: str | Path, dir_fd: int | None = None) -> BufferedReader:
    """Open the file for reading. Links are not followed, and no device or pipe is waited for.

    Raises:
        DamagedError: something else than a regular file lies there.
    """
    try:
        descriptor = os.open(path, _REGULAR, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in _IRREGULAR:
            raise _irregular(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(path)
    return os.fdopen(descriptor, "rb")


def require_regular(path: Path) -> None:
    """Check that a regular file lies there.

    Raises:
        DamagedError: something else does.
        FileNotFoundError: nothing does.
    """
    try:
        mode = os.lstat(path).st_mode
    except NotADirectoryError as error:
        raise _irregular(path) from error
    if not stat.S_ISREG(mode):
        raise _irregular(path)


def _irregular(path: str | Path) -> DamagedError:
    return DamagedError(f"{os.path.basename(path)} is no regular file")


def _require(path: str | Path, expected: FileDigest) -> Version:
    try:
        found, version = _measured(path)
    except FileNotFoundError as error:
        raise DamagedError(f"{os.path.basename(path)} is missing") from error
    _require_same(path, found, expected)
    return version


def _require_same(path: str | Path, found: FileDigest, expected: FileDigest) -> None:
    if found != expected:
        name = os.path.basename(path)
        require_size(name, found.size, expected)
        raise DamagedError(f"{name} has another SHA-256 than its record names")


def require_size(name: str, size: int, expected: FileDigest) -> None:
    """Check the size of a file that is elsewhere, whose content is checked when it is read.

    Raises:
        DamagedError: it is another one.
    """
    if size != expected.size:
        raise DamagedError(f"{name} has {size} bytes, and {expected.size} by its record")


def _measured(path: str | Path) -> tuple[FileDigest, Version]:
    with open_regular(path) as stream:
        version = _version(os.fstat(stream.fileno()))
        if version[2] < _REMEMBERED_BYTES:
            return digest_of_bytes(stream.read()), version
        known = _hashed.get(str(path))
        if known is not None and known[0] == version:
            return FileDigest(version[2], known[1]), version
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    _hashed[str(path)] = version, sha256
    return FileDigest(version[2], sha256), version


def _version(status: os.stat_result) -> Version:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
