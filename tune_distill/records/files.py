"""Files appear whole or not at all: temporary name beside the target, then a rename."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_distill.spec.errors import StoreError

# What file systems without hard links answer (FAT, many FUSE mounts of object stores).
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what is written there is at `path` once the block has ended.

    Raises:
        StoreError: the file system refuses (full, read-only, ...); nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
    finally:
        # Below a regular file there is nothing to remove, and looking there raises.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields a temporary directory that replaces the one at `path` once the block has ended.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary, former = _temporary(path), _temporary(path)
    try:
        with explained(path):
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            # A directory cannot be renamed over a full one: the old one steps aside first.
            if path.exists():
                os.replace(path, former)
            os.replace(temporary, path)
    finally:
        # Only our own: another process may be writing the same directory.
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """`path` holds `text`, whole."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def create_file(path: Path, content: bytes) -> bool:
    """Whether `path` was absent, and now holds `content`, whole: of several writers one succeeds.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            _flush(temporary)
            try:
                # Unlike a rename, a link refuses a name that is taken.
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # Such file systems have no way to let one of two writers win.
                if path.exists():
                    return False
                os.replace(temporary, path)
            return True
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what the file system refuses in the block into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space, or choose another folder",
            errno.EDQUOT: "free some of your quota, or choose another folder",
            errno.EROFS: "choose a folder that is not read-only",
            errno.EACCES: "choose a folder that you may write to",
            errno.EPERM: "choose a folder that you may write to",
        }.get(error.errno or 0, "choose another folder")
        raise StoreError(
            f"{path}: must be writable, got {error.strerror or error}; {remedy} "
            "with --results or --store"
        ) from error


def require_writable(folder: Path) -> None:
    """Nothing, where a file can be made in `folder`, which is made if need be.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    probe = folder / f".probe-{uuid.uuid4().hex}"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Some bytes, because an empty file fits on a full disk.
        try:
            probe.write_bytes(b"0" * 4096)
            _flush(probe)
        finally:
            probe.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"


def _flush(path: Path) -> None:
    # Without this a power cut can leave the new name on an empty file.
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    # Some writers keep their files to themselves; a shared store is for all whom the umask lets in.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
