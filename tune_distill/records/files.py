"""Files appear whole or not at all: temporary name beside the target, then a rename."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_distill.records.leftovers import locked
from tune_distill.records.refusals import explained

# Asked once: asking sets it, for every thread of the process.
_UMASK = os.umask(0)
os.umask(_UMASK)

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
            with locked(temporary, Path.touch):
                # So that a block that writes nothing is found out.
                os.utime(temporary, (0, 0))
                yield temporary
                _require_written(temporary)
                put(temporary, path)
    finally:
        # Below a regular file there is nothing to remove, and looking there raises.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _require_written(path: Path) -> None:
    if path.stat().st_mtime == 0:
        raise FileNotFoundError(errno.ENOENT, "nothing was written")


def put(written: Path, path: Path) -> None:
    """The file that was written beside it, or elsewhere on its disk, is at `path`."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _flush(written)
        os.replace(written, path)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields a temporary directory that replaces the one at `path` once the block has ended.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary, former = _temporary(path), _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(temporary, Path.mkdir):
                yield temporary
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _flush(file)
                while not _renamed(temporary, path):
                    # A directory cannot be renamed over a full one: the old one steps aside first,
                    # and another writer may come between.
                    with suppress(FileNotFoundError):
                        os.replace(path, former)
                    shutil.rmtree(former, ignore_errors=True)
    finally:
        # Only our own: another process may be writing the same directory.
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def _renamed(directory: Path, path: Path) -> bool:
    """Whether the directory is now at `path`; not if a full one is there."""
    try:
        os.replace(directory, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


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
            with locked(temporary, Path.touch):
                temporary.write_bytes(content)
                _flush(temporary)
                return _linked(temporary, path)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _linked(temporary: Path, path: Path) -> bool:
    """Whether `path` was absent, and is now the temporary file."""
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
    path.chmod(0o666 & ~_UMASK)
