"""Locks on temporary files, which tell those of living writers from those of killed ones."""

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

_TEMPORARY = f".*.{'[0-9a-f]' * 12}.tmp"
"""Names of temporary files and directories beside their targets; no other hidden files are ours."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Yields an empty temporary directory, which is removed after the block.

    Those of killed processes are removed on the occasion.
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
    """Wait until no other process or thread of this machine is in a block with the same lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def remove_abandoned(folder: Path, pattern: str = _TEMPORARY) -> None:
    """Remove the temporary files and directories that killed writers have left in the folder."""
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
    """Remove the file or directory, if it is there."""
    with explained(path), suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def locked(path: Path, make: Callable[[Path], None]) -> Iterator[None]:
    """Make `path` and keep it locked until the block or the process ends."""
    descriptor = make_locked(path, make)
    try:
        yield
    finally:
        os.close(descriptor)


def make_locked(path: Path, make: Callable[[Path], None]) -> int:
    """Make `path` with `make` and lock it; the descriptor that holds the lock."""
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
