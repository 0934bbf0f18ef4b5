"""Untrusted file names, checked and joined to folders of this machine.

Everyone who may write to a bucket or a shared folder chooses names of files in it, so a name is
checked each time it becomes a path. Only this module joins such names to folders.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from tune_distill.records.digests import DamagedError, open_regular
from tune_distill.spec.errors import StoreError

MOST_READ_BYTES = 256 * 1024 * 1024
"""The largest file that is read into memory; larger files are passed on as paths."""

MAX_NAME_BYTES = 1024
"""S3's limit on the length of keys."""

MAX_PART_BYTES = 255
"""The limit of common file systems on the name of a file or folder."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def require_name(name: str, where: str) -> str:
    """Return `name` after checking that it is a relative path that stays below its folder.

    Args:
        name: parts separated by slashes, such as `runs/<run_key>/run.json`.
        where: the folder or URI that the name belongs to, for the message.

    Raises:
        StoreError: the name breaks a rule.
    """
    rule = _broken_rule(name)
    if rule is not None:
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        raise StoreError(f"{where}: a file's name must {rule}, got {shown!r}; remove that file")
    return name


def joined(folder: Path, name: str) -> Path:
    """Return the path of `name` below `folder`. The folder itself may be a symbolic link.

    Raises:
        StoreError: `name` leads out of the folder.
        DamagedError: a part of the path is a symbolic link.
    """
    path = entry(folder, name)
    require_no_link(path)
    return path


def entry(folder: Path, name: str) -> Path:
    """Return the path of `name` below `folder`, to rename or remove it.

    Unlike in `joined`, the last part may be a symbolic link, which renaming and removing do not
    follow.

    Raises:
        StoreError: as `joined`.
    """
    *parents, last = require_name(name, str(folder)).split("/")
    path = folder
    for part in parents:
        path = path / part
        require_no_link(path)
    return path / last


def read_file(folder: Path, name: str, most_bytes: int = MOST_READ_BYTES) -> bytes:
    """Return the content of the file `name` below `folder`, without following links.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: as `joined`.
        DamagedError: it is not a regular file, or has more than `most_bytes` bytes.
    """
    with _opened(folder, name) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most_bytes:
            raise DamagedError(f"{name} has {size} bytes, and may have {most_bytes}")
        return stream.read()


def require_no_links(folder: Path) -> None:
    """Raise StoreError if the file or folder, or anything below it, is a symbolic link."""
    require_no_link(folder)
    for path in folder.rglob("*"):
        require_no_link(path)


def require_tree(names: Iterable[str], where: str) -> None:
    """Check the names of a listing.

    Raises:
        StoreError: `require_name` refuses a name, or one is both a file and a folder.
    """
    files = {require_name(name, where) for name in names}
    for name in files:
        parent = name
        while parent := parent.rpartition("/")[0]:
            if parent in files:
                raise StoreError(
                    f"{where}: a file's name must not be a folder's too, got {parent!r} beside "
                    f"{name!r}; remove one of them"
                )


def _broken_rule(name: str) -> str | None:
    """Return the first rule that the name breaks; None if it breaks none."""
    if _CONTROL.search(name):
        return "have no control characters"
    if "\\" in name:
        return "have no backslashes"
    if name.startswith("/") or _DRIVE.match(name):
        return "be relative"
    parts = name.split("/")
    if not all(parts):
        return "have no empty parts"
    if not {".", ".."}.isdisjoint(parts):
        return "have no part '.' or '..'"
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes) > MAX_PART_BYTES or sum(sizes) + len(sizes) - 1 > MAX_NAME_BYTES:
        return f"have at most {MAX_NAME_BYTES} bytes, and {MAX_PART_BYTES} between slashes"
    return None


def require_no_link(path: Path) -> None:
    """Raise DamagedError, a StoreError, if the path is a symbolic link."""
    if path.is_symlink():
        raise DamagedError(
            f"{path}: must be no symbolic link, because links inside stores and results are not "
            "followed; put what it leads to in its place"
        )


def _opened(folder: Path, name: str) -> BufferedReader:
    """Open the file one folder at a time, so that no link in its path is followed."""
    *parents, last = require_name(name, str(folder)).split("/")
    try:
        descriptor = os.open(folder, _DIRECTORY)
        try:
            for part in parents:
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            return open_regular(last, dir_fd=descriptor)
        finally:
            os.close(descriptor)
    except DamagedError:
        joined(folder, name)
        raise
    except OSError as error:
        # Raises a clearer error if a link is the reason.
        joined(folder, name)
        if error.errno == errno.ENOTDIR:
            raise DamagedError(f"{folder}/{name}: a part of its name must be a folder") from error
        error.filename = f"{folder}/{name}"
        raise
