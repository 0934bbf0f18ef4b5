"""Where a store's files are kept. Each kind of place keeps the same promises.

A name is relative, with slashes: `runs/<run_key>/run.json`. A file is there whole or not at all;
writing replaces what was there before. Large files are handed over as paths on this machine, so
that their bytes never lie in memory together: where the place is a folder here, those are the
files themselves; otherwise they are copies in a temporary folder.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tune_distill.records.digests import read_regular, require_regular
from tune_distill.records.files import (
    atomic_directory,
    atomic_file,
    create_file,
    require_writable,
)
from tune_distill.records.leftovers import remove_abandoned, remove_tree, scratch
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained

MOST_READ_BYTES = 256 * 1024 * 1024
"""What is read into memory at once; larger files are handed over as paths."""


class Place(Protocol):
    """Keeps named files."""

    def where(self, name: str = "") -> str:
        """The file's place in words that a user can look it up by."""

    def read(self, name: str) -> bytes:
        """The content of a small file.

        Raises:
            FileNotFoundError: there is none.
            DamagedError: what lies there is no regular file, or larger than MOST_READ_BYTES.
        """

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """A path on this machine with the file's content, while the block lasts.

        Raises:
            FileNotFoundError: there is none.
        """

    def reading_folder(self, name: str) -> AbstractContextManager[Path]:
        """A folder on this machine with the folder's files, while the block lasts.

        Raises:
            FileNotFoundError: there is none.
        """

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A path on this machine; what is written there has the name once the block has ended.

        Raises:
            StoreError: the place refuses (full, read-only, ...); nothing is left behind.
        """

    def writing_folder(self, name: str) -> AbstractContextManager[Path]:
        """An empty folder on this machine; its files are in the folder of the name once the block
        has ended. Only files are whole or absent, not the folder: mark completeness elsewhere.

        Raises:
            StoreError: the place refuses.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Whether the file was absent, and now has this content: of several writers one succeeds.

        Raises:
            StoreError: the place refuses.
        """

    def names(self, folder: str) -> list[str]:
        """The sorted last parts of what lies directly in the folder; none without a folder."""

    def exists(self, name: str) -> bool:
        """Whether the name is a file or a folder of files."""

    def remove(self, name: str) -> None:
        """The file is not there any more, if it was."""

    def remove_folder(self, name: str) -> None:
        """The folder and its files are not there any more, if they were."""

    def remove_abandoned(self, folder: str) -> None:
        """What killed writers have left directly in the folder is gone, where that can be told."""

    def set_aside(self, name: str, why: str) -> str:
        """The file or folder has the first free name `<name>.<why>-<n>`; that name."""

    def require_writable(self) -> None:
        """Nothing, where files can be written.

        Raises:
            StoreError: they cannot.
        """


class Folder:
    """A folder of this machine, or one that several machines share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str = "") -> str:
        return str(self.root / name)

    def path(self, name: str) -> Path:
        """Where the file lies, if it exists."""
        return self.root / name

    def read(self, name: str) -> bytes:
        # A path would be taken apart first, which takes longer than to read a small file.
        return read_regular(f"{self.root}/{name}", MOST_READ_BYTES)

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
        yield path

    def writing(self, name: str) -> AbstractContextManager[Path]:
        return atomic_file(self.path(name))

    def writing_folder(self, name: str) -> AbstractContextManager[Path]:
        return atomic_directory(self.path(name))

    def create(self, name: str, content: bytes) -> bool:
        return create_file(self.path(name), content)

    def names(self, folder: str) -> list[str]:
        try:
            entries = os.listdir(self.path(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        # Temporary files, and what a place keeps for itself, are hidden.
        return sorted(entry for entry in entries if not entry.startswith("."))

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def remove(self, name: str) -> None:
        with explained(self.path(name)), suppress(FileNotFoundError):
            self.path(name).unlink()

    def remove_folder(self, name: str) -> None:
        remove_tree(self.path(name))

    def remove_abandoned(self, folder: str) -> None:
        remove_abandoned(self.path(folder))

    def set_aside(self, name: str, why: str) -> str:
        path = self.path(name)
        number = 1
        while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
            number += 1
        # Another process may have set it aside a moment ago.
        with explained(path), suppress(FileNotFoundError):
            os.replace(path, aside)
        return str(Path(name).with_name(aside.name))

    def require_writable(self) -> None:
        require_writable(self.root)


class Copies(ABC):
    """A place whose files are copied here to be read, and copied there once they are written."""

    @abstractmethod
    def where(self, name: str = "") -> str: ...

    @abstractmethod
    def download(self, name: str, path: Path) -> None:
        """`path` has the file's content; FileNotFoundError where there is none."""

    @abstractmethod
    def upload(self, path: Path, name: str) -> None:
        """The file has the content of `path`, whole."""

    @abstractmethod
    def files(self, folder: str) -> list[str]:
        """The names of all files in the folder and its folders."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each of these files, by its name below the folder."""

    @abstractmethod
    def names(self, folder: str) -> list[str]: ...

    @abstractmethod
    def remove(self, name: str) -> None: ...

    def remove_folder(self, name: str) -> None:
        for file in self.files(name):
            self.remove(file)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            path = folder / Path(name).name
            self.download(name, path)
            yield path

    @contextmanager
    def reading_folder(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            files = self.files(name)
            if not files:
                raise FileNotFoundError(self.where(name))
            for file in files:
                path = folder / Path(file).relative_to(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                self.download(file, path)
            yield folder

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            path = folder / Path(name).name
            with explained(path, SCRATCH_CHOSEN_WITH):
                yield path
                path.stat()
            self.upload(path, name)

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            with explained(folder, SCRATCH_CHOSEN_WITH):
                yield folder
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    self.upload(path, f"{name}/{path.relative_to(folder).as_posix()}")
