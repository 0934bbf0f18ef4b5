"""A results folder that is not on this machine: a copy here, which is kept like it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tune_distill.records.leftovers import scratch
from tune_distill.records.places import Copies
from tune_distill.records.tables import TRIALS_FILE

_Version = tuple[int, int]


class Mirror:
    """The tables and reports of a place in a folder of this machine."""

    def __init__(self, place: Copies, folder: Path) -> None:
        self.folder = folder
        self._place = place
        self._published: dict[str, _Version] = {}

    def fetch(self) -> None:
        """The folder has every study's tables and reports; of what else lies there, nothing."""
        for folder in self._place.names(""):
            if TRIALS_FILE in self._place.names(folder):
                for name in self._place.files(folder):
                    path = self.folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._place.download(name, path)
                    self._published[name] = _version(path)

    def publish(self) -> None:
        """The place has every file that was written since the last time."""
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
    """Yields the place's mirror, still empty, which is gone after the block."""
    with scratch() as folder:
        yield Mirror(place, folder)


def _hidden(name: Path) -> bool:
    """Whether the name lies in the store or is a temporary one."""
    return any(part.startswith(".") for part in name.parts)


def _version(path: Path) -> _Version:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
