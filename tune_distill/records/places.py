"""The port for places that keep a store's files, and the place that is a folder.

A name is a relative path with slashes: `runs/<run_key>/run.json`. Names that could lead out of the
place are refused, and symbolic links inside it are not followed. Writes are atomic and replace the
former file. Large files are passed as paths on this machine, so they are never in memory as a
whole: a folder passes the files themselves, a remote place passes temporary copies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tune_distill.records.digests import require_regular
from tune_distill.records.files import (
    atomic_directory,
    atomic_file,
    create_file,
    require_writable,
)
from tune_distill.records.leftovers import remove_abandoned, remove_tree
from tune_distill.records.names import entry, joined, read_file, require_no_links
from tune_distill.records.refusals import explained


class Place(Protocol):
    """Keeps named files.

    Raises:
        StoreError: from every method: a name breaks the rules of names.py, a part of it is a
            symbolic link, or the place refuses (full, read-only, ...).
    """

    def where(self, name: str = "") -> str:
        """Return the path or URI of the file, for messages."""

    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedError: it is not a regular file, or is larger than MOST_READ_BYTES.
        """

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path on this machine with the file's content, valid in the block only.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def reading_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield a folder on this machine with the folder's files, valid in the block only.

        Raises:
            FileNotFoundError: there is no such folder.
        """

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path on this machine, and store the file written there after the block.

        If the block or the place fails, nothing is left behind.
        """

    def writing_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield an empty folder on this machine, and store its files after the block.

        Each file is written atomically, but not the folder: mark its completeness elsewhere.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Write the file unless it exists; return whether this call wrote it.

        If several writers come at once, one of them succeeds.
        """

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files and folders directly in the folder."""

    def exists(self, name: str) -> bool:
        """Return whether the name is a file or a non-empty folder."""

    def remove(self, name: str) -> None:
        """Remove the file, if it exists. If it is a link, remove the link, not its target."""

    def remove_folder(self, name: str) -> None:
        """Remove the folder and its files, if it exists."""

    def remove_abandoned(self, folder: str) -> None:
        """Remove what killed writers left directly in the folder, if that can be recognised."""

    def set_aside(self, name: str, why: str) -> str:
        """Rename the file or folder to the first free `<name>.<why>-<n>`; return that name."""

    def require_writable(self) -> None:
        """Raise StoreError if no file can be written here."""


class Folder:
    """A folder of this machine, or one that several machines share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str = "") -> str:
        return f"{self.root}/{name}" if name else str(self.root)

    def path(self, name: str) -> Path:
        """Return the path of the file, which need not exist."""
        return joined(self.root, name) if name else self.root

    def read(self, name: str) -> bytes:
        return read_file(self.root, name)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        path = self.path(name)
        require_regular(path)
        yield path

    @contextmanager
    def reading_folder(self, name: str) -> Iterator[Path]:
        path = self.path(name)
        if not path.is_dir():
            raise FileNotFoundError(path)
        require_no_links(path)
        yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with atomic_file(self.path(name)) as path:
            yield path
            require_no_links(path)

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        with atomic_directory(self.path(name)) as path:
            yield path
            require_no_links(path)

    def create(self, name: str, content: bytes) -> bool:
        return create_file(self.path(name), content)

    def names(self, folder: str) -> list[str]:
        try:
            entries = os.listdir(self.path(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        # Temporary files have hidden names.
        return sorted(name for name in entries if not name.startswith("."))

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def remove(self, name: str) -> None:
        path = entry(self.root, name)
        with explained(path), suppress(FileNotFoundError):
            path.unlink()

    def remove_folder(self, name: str) -> None:
        path = entry(self.root, name)
        if path.is_symlink():
            self.remove(name)
        else:
            remove_tree(path)

    def remove_abandoned(self, folder: str) -> None:
        remove_abandoned(self.path(folder))

    def set_aside(self, name: str, why: str) -> str:
        path = entry(self.root, name)
        number = 1
        while os.path.lexists(aside := path.with_name(f"{path.name}.{why}-{number}")):
            number += 1
        # Another process may have renamed it a moment ago.
        with explained(path), suppress(FileNotFoundError):
            os.replace(path, aside)
        return f"{name}.{why}-{number}"

    def require_writable(self) -> None:
        require_writable(self.root)
