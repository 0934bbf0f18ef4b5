"""The base class of remote places: files are copied here to be read, and back when written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_distill.records.leftovers import scratch
from tune_distill.records.names import joined, require_no_links, require_tree
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained


class Copies(ABC):
    """A place whose files are downloaded to be read, and uploaded once they are written.

    This class checks the names that the place lists, and refuses to upload symbolic links.
    """

    @abstractmethod
    def where(self, name: str = "") -> str: ...

    @abstractmethod
    def download(self, name: str, path: Path) -> None:
        """Write the file's content to `path`; raise FileNotFoundError if there is no such file."""

    @abstractmethod
    def upload(self, path: Path, name: str) -> None:
        """Replace the file by the content of `path`, atomically."""

    @abstractmethod
    def files(self, folder: str) -> list[str]:
        """Return the sorted names of all files in the folder and its subfolders.

        Raises:
            StoreError: a name could lead out of a folder of this machine.
        """

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of each of these files, by its name below the folder."""

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
        """Copy these files, which lie in the place's folder `root`, into `folder`.

        Raises:
            StoreError: a name leads out of `folder`; then nothing is written.
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
    """Return the last part of a name; the whole name if it has no last part."""
    return name.rpartition("/")[2] or name
