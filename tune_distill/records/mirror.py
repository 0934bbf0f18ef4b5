"""A local copy of a remote results folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_distill.records.copies import Copies
from tune_distill.records.leftovers import scratch
from tune_distill.records.names import joined, require_no_links
from tune_distill.records.tables import TRIALS_FILE

_Version = tuple[int, int]


class Mirror:
    """The tables and reports of a remote place in a folder of this machine."""

    def __init__(self, place: Copies, folder: Path) -> None:
        self.folder = folder
        self._place = place
        self._published: dict[str, _Version] = {}

    def fetch(self) -> None:
        """Copy every study's tables and reports into the folder.

        Raises:
            StoreError: a remote file's name leads out of the folder.
        """
        for folder in self._place.names(""):
            if TRIALS_FILE in self._place.names(folder):
                files = self._place.files(folder)
                self._place.download_all(files, "", self.folder)
                for name in files:
                    self._published[name] = _version(joined(self.folder, name))

    def publish(self) -> None:
        """Upload every file that was written since the last call.

        Raises:
            StoreError: a file is a symbolic link, or the place refuses.
        """
        require_no_links(self.folder)
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            if not path.is_file() or _hidden(name):
                continue
            version = _version(path)
            if self._published.get(name.as_posix()) != version:
                self._place.upload(path, name.as_posix())
                self._published[name.as_posix()] = version


@contextmanager
def mirrored(place: Copies) -> Iterator[Mirror]:
    """Yield an empty mirror of the place, and remove it after the block."""
    with scratch() as folder:
        yield Mirror(place, folder)


def _hidden(name: Path) -> bool:
    """Return whether the file is in the store or is a temporary file."""
    return any(part.startswith(".") for part in name.parts)


def _version(path: Path) -> _Version:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
