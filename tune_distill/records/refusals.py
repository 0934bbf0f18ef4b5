"""Refusals of the machine (full disks, missing rights) as errors with a remedy."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tune_distill.spec.errors import StoreError

# torch reports exhausted memory and failed GPUs as plain RuntimeErrors with these words.
_MACHINE = re.compile(r"allocate memory|out of memory|CUDA error", re.IGNORECASE)

SCRATCH_CHOSEN_WITH = "TMPDIR on this node"


@contextmanager
def explained(path: Path, chosen_with: str = "--results or --store") -> Iterator[None]:
    """Turn an OSError of writing in the block into a StoreError with a remedy."""
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


@contextmanager
def explained_reading(where: Callable[[str], str], name: str = "") -> Iterator[None]:
    """Turn an OSError of reading in the block into a StoreError with a remedy.

    If the OSError names no file, the message names `where(name)`. A FileNotFoundError is passed on,
    because callers handle absent files.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        remedy = "allow yourself to read it" if refused else "check the disk and try again"
        raise StoreError(
            f"{error.filename or where(name)}: must be readable, got {error.strerror or error}; "
            f"{remedy}, or choose another folder with --results or --store"
        ) from error


def says_nothing_of_content(error: BaseException) -> bool:
    """Return whether the machine, rather than the file's content, caused this error of reading."""
    # The system's own OSErrors have a number; those of parsers have none.
    is_system = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
    return is_system or isinstance(error, MemoryError) or bool(_MACHINE.search(str(error)))


@contextmanager
def plain_os_errors() -> Iterator[None]:
    """Turn safetensors' errors of writing into the OSErrors behind them.

    The store explains OSErrors to the user: a full disk, a read-only folder.
    """
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number)) from error
