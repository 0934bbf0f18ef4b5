"""Atomic writes: write under a temporary name beside the target, then rename."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_distill.records.leftovers import locked, remove_abandoned
from tune_distill.records.refusals import explained
from tune_distill.spec.errors import StoreError

# Errors of file systems without hard links (FAT, many FUSE mounts of object stores).
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to `path` after the block.

    Raises:
        StoreError: the file system refuses (full, read-only, ...); nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(temporary, Path.touch):
                mode = _permissions(temporary)
                # This time of change shows afterwards whether the block wrote anything.
                os.utime(temporary, (0, 0))
                yield temporary
                _require_written(temporary)
                _flush(temporary, mode)
                os.replace(temporary, path)
    finally:
        # If the parent is a regular file, unlink raises NotADirectoryError.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _require_written(path: Path) -> None:
    if path.stat().st_mtime == 0:
        raise FileNotFoundError(errno.ENOENT, "nothing was written")


def put(written: Path, path: Path) -> None:
    """Move the file `written`, which lies on the same disk, to `path`."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _flush(written, _permissions_in(path.parent))
        os.replace(written, path)


@contextmanager
def replaced_together(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder, and move its files into `folder` after the block.

    All files are written before the first one is replaced, so an error in the block leaves all old
    files. The file named `last` is replaced after the others.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary = _temporary(folder / "tables")
    try:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(temporary, Path.mkdir):
                yield temporary
                names = sorted(path.name for path in temporary.iterdir())
                names.sort(key=lambda name: name == last)
                for name in names:
                    _require_replaceable(folder / name)
                for name in names:
                    os.replace(temporary / name, folder / name)
    except StoreError as error:
        # The user knows `folder`, and not the temporary one.
        raise StoreError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(path: Path) -> None:
    """Raise StoreError if `path` is a folder, which a rename of a file cannot replace."""
    with explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory, and replace the one at `path` by it after the block.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary, former = _temporary(path), _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(temporary, Path.mkdir):
                mode = _permissions(temporary)
                yield temporary
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _flush(file, mode)
                while not _renamed(temporary, path):
                    # A directory cannot be renamed over a non-empty one, so the old one is renamed
                    # first. Another writer may come between: then this loop tries again.
                    with suppress(FileNotFoundError):
                        os.replace(path, former)
                    shutil.rmtree(former, ignore_errors=True)
    finally:
        # Other temporary directories may belong to another process that writes the same path.
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def _renamed(directory: Path, path: Path) -> bool:
    """Move the directory to `path`; False if a directory with files is there."""
    try:
        os.replace(directory, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def write_text(path: Path, text: str) -> None:
    """Write the text to `path`, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def create_file(path: Path, content: bytes) -> bool:
    """Write `path` unless it exists; return whether this call wrote it.

    If several writers come at once, exactly one of them succeeds.

    Raises:
        StoreError: the file system refuses; nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(temporary, Path.touch):
                temporary.write_bytes(content)
                _flush(temporary, _permissions(temporary))
                return _linked(temporary, path)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _linked(temporary: Path, path: Path) -> bool:
    """Link the temporary file to `path` unless that exists; return whether it did not."""
    try:
        # Unlike a rename, a link refuses a name that is taken.
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links, both of two simultaneous writers may believe that they were first.
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def require_writable(folder: Path) -> None:
    """Check that a file can be written in the folder, which is made if it does not exist.

    This also removes what killed writers have left in the folder.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    probe = _temporary(folder / "probe")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        try:
            with locked(probe, Path.touch):
                # An empty file would fit on a full disk.
                probe.write_bytes(b"0" * 4096)
                _flush(probe, _permissions(probe))
        finally:
            probe.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"


def _permissions(made: Path) -> int:
    """Return the permissions for new files, given a file or folder made with default permissions.

    They depend on the umask, which cannot be read without setting it for all threads.
    """
    return stat.S_IMODE(made.stat().st_mode) & 0o666


def _permissions_in(folder: Path) -> int:
    """Return the default permissions of new files in the folder."""
    probe = _temporary(folder / "probe")
    try:
        with locked(probe, Path.touch):
            return _permissions(probe)
    finally:
        probe.unlink(missing_ok=True)


def _flush(path: Path, mode: int) -> None:
    # Without fsync, a power cut can leave an empty file under the new name.
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    # Some libraries write files that only their owner may read; others may read a shared store.
    path.chmod(mode)
