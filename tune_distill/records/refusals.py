"""What the machine refuses, told with what to do about it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tune_distill.spec.errors import StoreError

# What torch says, in plain RuntimeErrors, of memory and of GPUs that have failed.
_MACHINE = re.compile(r"allocate memory|out of memory|CUDA error", re.IGNORECASE)

SCRATCH_CHOSEN_WITH = "TMPDIR on this node"


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


@contextmanager
def explained_reading(where: Callable[[str], str], name: str = "") -> Iterator[None]:
    """Turn the system's refusals to read in the block into a StoreError that says what to do.

    Where the system does not name a file, `where` says where the one of this name lies.

    FileNotFoundError passes: that a file is absent is an answer.
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
    """Whether the machine, and not what a file holds, is the reason that it could not be read."""
    # The system's own errors have a number; parsers raise OSErrors without one.
    is_system = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
    return is_system or isinstance(error, MemoryError) or bool(_MACHINE.search(str(error)))


@contextmanager
def plain_os_errors() -> Iterator[None]:
    """Turn safetensors' errors of writing into the OSErrors that they hide.

    The store explains those to the user: a full disk, a read-only folder.
    """
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number)) from error
