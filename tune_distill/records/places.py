"""Where a store's files are kept. Each kind of place keeps the same promises.

A name is relative, with slashes: `runs/<run_key>/run.json`. Names that could lead elsewhere are
refused, and no symbolic link inside a place is followed. A file is there whole or not at all;
writing replaces what was there before. Large files are handed over as paths on this machine, so
that their bytes never lie in memory together: where the place is a folder here, those are the
files themselves; otherwise they are copies in a temporary folder.
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
        StoreError: from every method: a name is not relative or leads upward (see names.py), a
            part of it is a symbolic link, or the place refuses (full, read-only, ...).
    """

    def where(self, name: str = "") -> str:
        """Return the file's place in words that a user can look it up by."""

    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: there is none.
            DamagedError: what lies there is no regular file, or larger than MOST_READ_BYTES.
        """

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path on this machine with the file's content, for the block only.

        Raises:
            FileNotFoundError: there is none.
        """

    def reading_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield a folder on this machine with the folder's files, for the block only.

        Raises:
            FileNotFoundError: there is none.
        """

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path on this machine; what is written there has the name once the block ended.

        If the block or the place fails, nothing is left behind.
        """

    def writing_folder(self, name: str) -> AbstractContextManager[Path]:
        """Yield an empty folder on this machine; its files are in the folder of the name once the
        block has ended. Only files are whole or absent, not the folder: mark completeness
        elsewhere.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet, and return whether this call wrote it: of several
        writers one succeeds.
        """

    def names(self, folder: str) -> list[str]:
        """Return the sorted last parts of what lies directly in the folder."""

    def exists(self, name: str) -> bool:
        """Return whether the name is a file or a folder of files."""

    def remove(self, name: str) -> None:
        """Remove the file, if it is there. A link is removed itself, not what it leads to."""

    def remove_folder(self, name: str) -> None:
        """Remove the folder and its files, if they are there."""

    def remove_abandoned(self, folder: str) -> None:
        """Remove what killed writers left directly in the folder, where that can be told."""

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
        """Return where the file lies, if it exists."""
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
        # Temporary files, and what a place keeps for itself, are hidden.
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
        # Another process may have set it aside a moment ago.
        with explained(path), suppress(FileNotFoundError):
            os.replace(path, aside)
        return f"{name}.{why}-{number}"

    def require_writable(self) -> None:
        require_writable(self.root)
