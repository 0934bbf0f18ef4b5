"""Locks on temporary files: they show whether the writer of a file still lives."""

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
"""The names of our temporary files and directories; other hidden files are not ours."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty temporary directory, and remove it after the block.

    This also removes such directories of killed processes.
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
        # Its writer may end at this moment, or it may belong to another user.
        with suppress(OSError, StoreError):
            descriptor = _open(temporary)
            try:
                # Raises OSError while its writer lives.
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
    """Make `path` with `make` and lock it; return the descriptor that holds the lock."""
    while True:
        make(path)
        # Another process may remove it as abandoned before it is locked; then try again.
        try:
            descriptor = _open(path)
        except FileNotFoundError:
            continue
        # Some network file systems have no locks; leftovers are not removed there.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return descriptor
        os.close(descriptor)


def _open(path: Path) -> int:
    # Over NFS, an exclusive lock needs a file that is open for writing. Links are not followed,
    # because other users may put them into a folder for temporary files.
    return os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW)
