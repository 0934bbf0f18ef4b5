"""Places whose files are copied to this machine to be read, and from it once they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_distill.records.leftovers import scratch
from tune_distill.records.names import joined, require_no_links, require_tree
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained


class Copies(ABC):
    """A place whose files are copied here to be read, and copied there once they are written.

    Names that the place gives are checked here, and symbolic links are not uploaded.
    """

    @abstractmethod
    def where(self, name: str = "") -> str: ...

    @abstractmethod
    def download(self, name: str, path: Path) -> None:
        """Write the file's content to `path`; FileNotFoundError if there is no such file."""

    @abstractmethod
    def upload(self, path: Path, name: str) -> None:
        """Give the file the content of `path`, whole."""

    @abstractmethod
    def files(self, folder: str) -> list[str]:
        """Return the names of all files in the folder and its folders, sorted.

        Raises:
            StoreError: a name that could lead out of a folder of this machine.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of each of these files, by its name below the folder."""

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
            path = joined(folder, _last(name))
            self.download(name, path)
            yield path

    @contextmanager
    def reading_folder(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            files = self.files(name)
            if not files:
                raise FileNotFoundError(self.where(name))
            self.download_all(files, name, folder)
            yield folder

    def download_all(self, files: list[str], root: str, folder: Path) -> None:
        """Copy these files of the folder `root` of the place into `folder`, under their names.

        Raises:
            StoreError: one of the names leads out of `folder`; nothing is written then.
        """
        inside = {file: file.removeprefix(f"{root}/") if root else file for file in files}
        require_tree(inside.values(), self.where(root))
        for file, name in inside.items():
            path = joined(folder, name)
            with explained(path, SCRATCH_CHOSEN_WITH):
                path.parent.mkdir(parents=True, exist_ok=True)
            self.download(file, path)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            path = joined(folder, _last(name))
            with explained(path, SCRATCH_CHOSEN_WITH):
                yield path
                path.stat()
            require_no_links(path)
            self.upload(path, name)

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        with scratch() as folder:
            with explained(folder, SCRATCH_CHOSEN_WITH):
                yield folder
            require_no_links(folder)
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    self.upload(path, f"{name}/{path.relative_to(folder).as_posix()}")


def _last(name: str) -> str:
    """The last part of a name; of one that is refused, all of it."""
    return name.rpartition("/")[2] or name
