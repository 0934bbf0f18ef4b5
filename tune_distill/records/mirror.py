"""A copy, on this machine, of a results folder that is elsewhere."""

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
    """The tables and reports of a place in a folder of this machine."""

    def __init__(self, place: Copies, folder: Path) -> None:
        self.folder = folder
        self._place = place
        self._published: dict[str, _Version] = {}

    def fetch(self) -> None:
        """Copy every study's tables and reports into the folder, and nothing else.

        Raises:
            StoreError: a file there has a name that leads out of the folder.
        """
        for folder in self._place.names(""):
            if TRIALS_FILE in self._place.names(folder):
                files = self._place.files(folder)
                self._place.download_all(files, "", self.folder)
                for name in files:
                    self._published[name] = _version(joined(self.folder, name))

    def publish(self) -> None:
        """Copy every file that was written since the last time to the place.

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
    """Yield the place's mirror, still empty; it is removed after the block."""
    with scratch() as folder:
        yield Mirror(place, folder)


def _hidden(name: Path) -> bool:
    """Whether the name lies in the store or is a temporary one."""
    return any(part.startswith(".") for part in name.parts)


def _version(path: Path) -> _Version:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
