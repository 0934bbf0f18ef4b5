"""Temporary files are locked while their writers live, so that anyone can tell what a killed writer
has left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained
from tune_distill.spec.errors import StoreError

_SCRATCH = "tune_distill-scratch-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields an empty directory for what is on its way, which is gone after the block.

    What killed processes have left of theirs is removed on the occasion.
    """
    root = Path(tempfile.gettempdir())
    remove_abandoned(root, f"{_SCRATCH}*")
    folder = root / f"{_SCRATCH}{uuid.uuid4().hex[:12]}"
    with explained(root, SCRATCH_CHOSEN_WITH):
        descriptor = make_locked(folder, lambda path: path.mkdir(mode=0o700))
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
def locked(path: Path, make: Callable[[Path], None]) -> Iterator[None]:
    """`path` was made, and is locked until the block or the process ends."""
    descriptor = make_locked(path, make)
    try:
        yield
    finally:
        os.close(descriptor)


def make_locked(path: Path, make: Callable[[Path], None]) -> int:
    """The descriptor that holds the lock on `path`, which `make` has made."""
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
    # Over NFS a lock needs a file that may be written. Links are not followed, because others
    # may put them into a folder for temporary files.
    return os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW)
