"""Size and SHA-256 of stored files, and checks that a file still is what was stored."""

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

# Errors of opening a link, a socket, a path below a file, and a folder.
_IRREGULAR = {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR}

# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Hashing a smaller file again is cheaper than remembering its digest.
_REMEMBERED_BYTES = 2**16

Version = tuple[int, int, int, int, int]
"""Device, inode, size and both times of change: one differs after a file was written."""

_hashed: dict[str, tuple[Version, str]] = {}


class DamagedError(StoreError):
    """A file's content is not what was stored."""


@dataclass(frozen=True)
class FileDigest:
    """A file's size in bytes and its SHA-256 (hex)."""

    __pydantic_config__ = ConfigDict(strict=True)

    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def digest_of(path: Path) -> FileDigest:
    """Return the file's digest. A process hashes a large unchanged file only once.

    Raises:
        DamagedError: the path is not a regular file.
        FileNotFoundError: the path does not exist.
    """
    return _measured(path)[0]


def digest_of_bytes(content: bytes) -> FileDigest:
    """Return the digest of a file with this content."""
    return FileDigest(len(content), hashlib.sha256(content).hexdigest())


def digests_in(folder: Path) -> dict[str, FileDigest]:
    """Return the digests of all files in the folder and its subfolders, by their names below it."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in files}


def require(path: str | Path, expected: FileDigest) -> Version:
    """Check that the file holds what was stored; return its version.

    Raises:
        DamagedError: the file is missing or differs.
    """
    try:
        found, version = _measured(path)
    except FileNotFoundError as error:
        raise DamagedError(f"{os.path.basename(path)} is missing") from error
    _require_same(path, found, expected)
    return version


def read_verified(path: Path, expected: FileDigest) -> bytes:
    """Return the content of the file after checking it against `expected`.

    Raises:
        DamagedError: the content differs.
        FileNotFoundError: the path does not exist.
    """
    with open_regular(path) as stream:
        content = stream.read()
    _require_same(path, digest_of_bytes(content), expected)
    return content


@contextmanager
def verified(path: Path, expected: FileDigest) -> Iterator[None]:
    """Check the file's digest before the block, and after it that the file did not change.

    Raises:
        DamagedError: the file does not hold what was stored.
    """
    before = require(path, expected)
    yield
    if _version(os.lstat(path)) != before:
        raise DamagedError(f"{path.name} changed while it was read")


def open_regular(path: str | Path, dir_fd: int | None = None) -> BufferedReader:
    """Open the file for reading, without following links or waiting for devices and pipes.

    Raises:
        DamagedError: the path is not a regular file.
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
    """Check that the path is a regular file.

    Raises:
        DamagedError: it is something else.
        FileNotFoundError: it does not exist.
    """
    try:
        mode = os.lstat(path).st_mode
    except NotADirectoryError as error:
        raise _irregular(path) from error
    if not stat.S_ISREG(mode):
        raise _irregular(path)


def _irregular(path: str | Path) -> DamagedError:
    return DamagedError(f"{os.path.basename(path)} is no regular file")


def _require_same(path: str | Path, found: FileDigest, expected: FileDigest) -> None:
    if found != expected:
        name = os.path.basename(path)
        require_size(name, found.size, expected)
        raise DamagedError(f"{name} has another SHA-256 than its record names")


def require_size(name: str, size: int, expected: FileDigest) -> None:
    """Check the size of a remote file, whose content is checked when it is read.

    Raises:
        DamagedError: the size differs.
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
