"""Files appear whole or not at all: temporary name beside the target, then a rename.

A temporary file is locked while its writer lives, so that anyone can tell what a killed writer has
left behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_distill.spec.errors import StoreError

# Asked once: asking sets it, for every thread of the process.
_UMASK = os.umask(0)
os.umask(_UMASK)

# What torch says, in plain RuntimeErrors, of memory and of GPUs that have failed.
_MACHINE = re.compile(r"allocate memory|out of memory|CUDA error", re.IGNORECASE)

_SCRATCH = "tune_distill-scratch-"

SCRATCH_CHOSEN_WITH = "TMPDIR on this node"

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
            with _locked(temporary, _make_unwritten):
                yield temporary
                _require_written(temporary)
                put(temporary, path)
    finally:
        # Below a regular file there is nothing to remove, and looking there raises.
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _make_unwritten(path: Path) -> None:
    path.touch()
    os.utime(path, (0, 0))


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
            with _locked(temporary, Path.mkdir):
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


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields an empty directory for what is on its way, which is gone after the block.

    What killed processes have left of theirs is removed on the occasion.
    """
    root = Path(tempfile.gettempdir())
    remove_abandoned(root, f"{_SCRATCH}*")
    folder = root / f"{_SCRATCH}{uuid.uuid4().hex[:12]}"
    with explained(root, SCRATCH_CHOSEN_WITH):
        descriptor = _make_locked(folder, lambda path: path.mkdir(mode=0o700))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Of all who name the same lock, on this machine, one is in the block."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def remove_abandoned(folder: Path, pattern: str = ".*.tmp") -> None:
    """Temporary files and directories that killed writers have left in the folder are gone."""
    for temporary in folder.glob(pattern):
        # Ended in this moment, or another user's, which is not for us to remove.
        with suppress(OSError, StoreError):
            descriptor = _open(temporary)
            try:
                # Refused while its writer lives.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(temporary)
            finally:
                os.close(descriptor)


def remove_tree(path: Path) -> None:
    """The file or directory is not there any more, if it was."""
    with explained(path), suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _locked(path: Path, make: Callable[[Path], None]) -> Iterator[None]:
    """`path` was made, and is locked until the block or the process ends."""
    descriptor = _make_locked(path, make)
    try:
        yield
    finally:
        os.close(descriptor)


def _make_locked(path: Path, make: Callable[[Path], None]) -> int:
    while True:
        make(path)
        # Until it is locked, somebody may take it for abandoned.
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            continue
        # Not every network's file system has locks: nobody can tell there whose writer lives.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return descriptor
        os.close(descriptor)


def _open(path: Path) -> int:
    # Over NFS a lock needs a file that may be written.
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)


def says_nothing_of_content(error: Exception) -> bool:
    """Whether the machine, and not what a file holds, is the reason that it could not be read."""
    # The system's own errors have a number; parsers raise OSErrors without one.
    is_system = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
    return is_system or isinstance(error, MemoryError) or bool(_MACHINE.search(str(error)))


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
            with _locked(temporary, Path.touch):
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


@contextmanager
def explained(path: Path, chosen_with: str = "--results or --store") -> Iterator[None]:
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
            f"{path}: must be writable, got {error.strerror or error}; {remedy} with {chosen_with}"
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
    path.chmod(0o666 & ~_UMASK)
