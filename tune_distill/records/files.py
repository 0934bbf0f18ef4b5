"""Files appear whole or not at all: temporary name beside the target, then a rename."""

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
                mode = _permissions(temporary)
                # So that a block that writes nothing is found out.
                os.utime(temporary, (0, 0))
                yield temporary
                _require_written(temporary)
                _flush(temporary, mode)
                os.replace(temporary, path)
    finally:
        # Below a regular file there is nothing to remove, and looking there raises.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _require_written(path: Path) -> None:
    if path.stat().st_mtime == 0:
        raise FileNotFoundError(errno.ENOENT, "nothing was written")


def put(written: Path, path: Path) -> None:
    """Move the file that was written beside it, or elsewhere on its disk, to `path`."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _flush(written, _permissions_in(path.parent))
        os.replace(written, path)


@contextmanager
def replaced_together(folder: Path, last: str) -> Iterator[Path]:
    """Yields an empty folder; once the block has ended, its files replace those in `folder`.

    All of them are on the disk before the first one is replaced: an error in the block leaves all
    old files. The file named `last` is replaced after the others.

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
        # The user knows the folder, and not the temporary one.
        raise StoreError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_replaceable(path: Path) -> None:
    """Raise StoreError if a folder is in the place of a file: no rename would replace it."""
    with explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


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
                mode = _permissions(temporary)
                yield temporary
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _flush(file, mode)
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
    """Write `path` unless it is there; whether it was absent. Of several writers one succeeds.

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
    """Move the temporary file to `path` unless that is there; whether it was absent."""
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
    """Make the folder if need be, and write a file in it, which is removed again.

    What killed writers have left in the folder is removed on the occasion.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    probe = _temporary(folder / "probe")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        try:
            with locked(probe, Path.touch):
                # Some bytes, because an empty file fits on a full disk.
                probe.write_bytes(b"0" * 4096)
                _flush(probe, _permissions(probe))
        finally:
            probe.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"


def _permissions(made: Path) -> int:
    """The permissions of files beside a file or folder that was made without asking for any.

    That tells the umask, which cannot be asked for without setting it for every thread.
    """
    return stat.S_IMODE(made.stat().st_mode) & 0o666


def _permissions_in(folder: Path) -> int:
    """The permissions of new files in the folder."""
    probe = _temporary(folder / "probe")
    try:
        with locked(probe, Path.touch):
            return _permissions(probe)
    finally:
        probe.unlink(missing_ok=True)


def _flush(path: Path, mode: int) -> None:
    # Without this a power cut can leave the new name on an empty file.
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    # Some writers keep their files to themselves; a shared store is for all whom the umask lets in.
    path.chmod(mode)
