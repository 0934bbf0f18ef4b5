"""The driver's side of a relayed store: it serves the folder to workers on other nodes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from tune_distill.records.digests import open_regular
from tune_distill.records.files import put
from tune_distill.records.names import joined, require_no_links
from tune_distill.records.places import Folder
from tune_distill.spec.errors import StoreError

PIECE_BYTES = 4 * 1024 * 1024

# An upload that did not grow for so long has lost its worker.
_ABANDONED_S = 3600.0

_UPLOADS = ".uploads"

Version = tuple[int, int, int]
"""Inode, size and time of the last change: one differs after a file was replaced."""


class Porter:
    """Reads and writes a folder on its node for other nodes, one piece of a file at a time.

    The folder checks all names, which come from workers.
    """

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root)

    def read(self, name: str) -> bytes:
        return self._folder.read(name)

    def read_piece(self, name: str, offset: int) -> tuple[Version, bytes]:
        """Return the file's version and at most PIECE_BYTES from `offset`; empty at the end."""
        with open_regular(self._folder.path(name)) as stream:
            stream.seek(offset)
            status = os.fstat(stream.fileno())
            return (status.st_ino, status.st_size, status.st_mtime_ns), stream.read(PIECE_BYTES)

    def write_piece(self, upload: str, offset: int, piece: bytes) -> None:
        """Write the piece at its offset of the upload; writing it twice does no harm."""
        path = self._upload(upload)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as stream:
            stream.seek(offset)
            stream.write(piece)

    def finish_upload(self, upload: str, name: str) -> None:
        """Move the upload to this name; a repeated call changes nothing."""
        # A single rename, so that a call repeated after a crash finds it done or not begun.
        if self._upload(upload).exists():
            put(self._upload(upload), self._folder.path(name))
        elif not self._folder.exists(name):
            raise StoreError(
                f"{self._folder.where(name)}: must have been sent whole, got nothing; "
                "give the same command again"
            )

    def drop_upload(self, upload: str) -> None:
        self._upload(upload).unlink(missing_ok=True)

    def create(self, name: str, content: bytes) -> bool:
        # If the answer to a first call was lost, equal content shows that the caller wrote it.
        return self._folder.create(name, content) or self._folder.read(name) == content

    def names(self, folder: str) -> list[str]:
        return self._folder.names(folder)

    def files(self, folder: str) -> list[str]:
        """Return the names of all files below the folder.

        Raises:
            StoreError: one of them is a symbolic link.
        """
        below = self._folder.path(folder)
        require_no_links(below)
        paths = sorted(path for path in below.rglob("*") if path.is_file())
        names = [path.relative_to(self._folder.root) for path in paths]
        return [n.as_posix() for n in names if not any(part.startswith(".") for part in n.parts)]

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size in bytes of each of these files, by its name below the folder."""
        return {
            name.removeprefix(f"{folder}/"): self._folder.path(name).stat().st_size
            for name in self.files(folder)
        }

    def exists(self, name: str) -> bool:
        return self._folder.exists(name)

    def remove(self, name: str) -> None:
        self._folder.remove(name)

    def remove_folder(self, name: str) -> None:
        self._folder.remove_folder(name)

    def remove_abandoned(self, folder: str) -> None:
        self._folder.remove_abandoned(folder)
        for upload in self._folder.path(_UPLOADS).glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - upload.stat().st_mtime > _ABANDONED_S:
                    upload.unlink()

    def set_aside(self, name: str, why: str) -> str:
        return self._folder.set_aside(name, why)

    def require_writable(self) -> None:
        self._folder.require_writable()

    def _upload(self, upload: str) -> Path:
        return joined(self._folder.path(_UPLOADS), upload)
