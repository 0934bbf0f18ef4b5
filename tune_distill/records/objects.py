"""A place in a bucket, or in any other file system that fsspec can reach."""

from __future__ import annotations

import errno
import glob
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from tune_distill.records.clouds import (
    CLOUDS,
    PUT_OPTIONS,
    WHOLE_UPLOADS,
    create_object,
    open_system,
    protocol,
    quiet,
    remedy,
    said,
)
from tune_distill.records.copies import Copies
from tune_distill.records.names import joined, require_name
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained
from tune_distill.spec.errors import StoreError
from tune_distill.spec.redaction import redacted

# Errors of this machine's temporary disk; no bucket answers with them.
_OWN_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

# Serialises `create` between threads where the file system has no conditional write.
_creating = threading.Lock()


class ObjectStore(Copies):
    """Files as objects under a URI.

    Several threads may call its methods at once. Unpickling connects anew, with the credentials of
    the machine that unpickles. Symbolic links on a server, as over SFTP, are followed there.

    Raises:
        StoreError: from any method: the place refuses, cannot be reached, or a name in it could
            lead out of a folder of this machine.
    """

    def __init__(self, uri: str, flag: str, system: AbstractFileSystem, root: str) -> None:
        self._uri, self._flag = uri.rstrip("/"), flag
        self._system, self._root = system, root.rstrip("/")
        self._cloud = CLOUDS.get(protocol(uri))
        self._put_options = PUT_OPTIONS.get(self._cloud or "", {})
        self._whole_uploads = protocol(uri) in WHOLE_UPLOADS
        self._is_local = isinstance(system, LocalFileSystem)

    @classmethod
    def open(cls, uri: str, flag: str) -> ObjectStore:
        """Return the place at `uri`, without a request to it.

        Raises:
            StoreError: as `clouds.open_system`.
        """
        return cls(uri, flag, *open_system(uri, flag))

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore.open, (self._uri, self._flag)

    def where(self, name: str = "") -> str:
        return redacted(f"{self._uri}/{name}" if name else self._uri)

    def read(self, name: str) -> bytes:
        with self._explained(name):
            return bytes(self._system.cat_file(self._path(name)))

    def download(self, name: str, path: Path) -> None:
        with self._explained(name):
            self._system.get_file(self._path(name), str(path))

    def upload(self, path: Path, name: str) -> None:
        with self._explained(name, writes=True):
            if self._whole_uploads:
                self._system.put_file(str(path), self._path(name), **self._put_options)
                return
            temporary = self._temporary_name(name)
            try:
                self._system.makedirs(self._parent(name), exist_ok=True)
                self._system.put_file(str(path), temporary)
                self._system.mv(temporary, self._path(name))
            except BaseException:
                with suppress(Exception):
                    self._system.rm_file(temporary)
                raise

    def create(self, name: str, content: bytes) -> bool:
        if self._whole_uploads:
            with self._explained(name, writes=True):
                return create_object(self._system, self._path(name), content)
        # fsspec has no conditional write for these file systems, so two processes may both
        # succeed. Within this process, the lock prevents that.
        with _creating:
            if self.exists(name):
                return False
            with self.writing(name) as path:
                path.write_bytes(content)
            return True

    def names(self, folder: str) -> list[str]:
        try:
            with self._explained(folder):
                found = self._system.ls(self._path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        root = self._path(folder)
        names = {_relative(path, root).partition("/")[0] for path in found} - {""}
        return sorted(self._checked(name for name in names if not name.endswith(".tmp")))

    def files(self, folder: str) -> list[str]:
        return sorted(f"{folder}/{name}" if folder else name for name in self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            with self._explained(folder):
                found = self._system.find(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        root = self._path(folder)
        sizes = {
            _relative(path, root): int(entry["size"] or 0)
            for path, entry in found.items()
            if not path.endswith((".tmp", "/"))
        }
        return {name: sizes[name] for name in self._checked(sizes.keys() - {""})}

    def _checked(self, names: Iterable[str]) -> list[str]:
        """Return the names of a listing after checking that none leads out of its folder."""
        return [require_name(name, self.where()) for name in names]

    def exists(self, name: str) -> bool:
        # fsspec's own `exists` takes any error for "no" on most file systems.
        return self._is_file(name) or bool(self.files(name))

    def _is_file(self, name: str) -> bool:
        try:
            with self._explained(name):
                return bool(self._system.info(self._path(name))["type"] == "file")
        except FileNotFoundError:
            return False

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._explained(name):
            self._system.rm_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        super().remove_folder(name)
        if not self._whole_uploads:
            self._remove_empty_folders(name)

    def remove_abandoned(self, folder: str) -> None:
        """Do nothing: an object store does not show which writers still live."""

    def set_aside(self, name: str, why: str) -> str:
        number = 1
        while self.exists(aside := f"{name}.{why}-{number}"):
            number += 1
        if self._is_file(name):
            self._move(name, aside)
        # Move top-level files first: they mark a folder as complete, and an interrupted move
        # must not leave an incomplete folder with such a mark.
        for file in sorted(self.files(name), key=lambda file: file.count("/")):
            self._move(file, aside + file.removeprefix(name))
        if not self._whole_uploads:
            self._remove_empty_folders(name)
        return aside

    def _move(self, name: str, target: str) -> None:
        # Another process may have moved it a moment ago.
        with suppress(FileNotFoundError), self._explained(name):
            if not self._whole_uploads:
                self._system.makedirs(self._parent(target), exist_ok=True)
            self._system.mv(self._path(name), self._path(target))

    def _remove_empty_folders(self, name: str) -> None:
        """Remove empty folders, which file systems other than buckets keep."""
        root = self._path(name)
        with suppress(FileNotFoundError), self._explained(name):
            found = self._system.find(root, withdirs=True, detail=True)
            folders = {path for path, entry in found.items() if entry["type"] == "directory"}
            for folder in sorted({root, *folders}, key=len, reverse=True):
                # rmdir refuses a folder that another process has written to in the meantime.
                with suppress(OSError):
                    self._system.rmdir(folder)

    def require_writable(self) -> None:
        probe = self._path(f".probe-{uuid.uuid4().hex}")
        with self._explained("", writes=True):
            if not self._whole_uploads:
                self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(probe, b"0" * 4096)
            self._system.cat_file(probe)
            self._system.rm_file(probe)

    def _path(self, name: str) -> str:
        """Return the path of a name after checking it, because some names come from listings."""
        if not name:
            return self._root
        require_name(name, self.where())
        if glob.has_magic(name):
            raise StoreError(
                f"{self.where()}: a file's name must be without *, ? and [, which fsspec takes for "
                f"patterns, got {name!r}; remove that file"
            )
        if self._is_local:
            return str(joined(Path(self._root), name))
        return f"{self._root}/{name}"

    def _parent(self, name: str) -> str:
        return self._path(name).rpartition("/")[0]

    def _temporary_name(self, name: str) -> str:
        return f"{self._parent(name)}/.{Path(name).name}.{uuid.uuid4().hex[:12]}.tmp"

    @contextmanager
    def _explained(self, name: str, writes: bool = False) -> Iterator[None]:
        """Raise FileNotFoundError for an absent file, and StoreError for any other error."""
        try:
            with quiet():
                yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if writes:
                self._refuse(name, error)
            raise
        except StoreError:
            raise
        # Each cloud's package has its own exceptions, most of which are not OSErrors.
        except Exception as error:
            if self._cloud and isinstance(error, OSError) and error.errno in _OWN_DISK:
                with explained(Path(tempfile.gettempdir()), SCRATCH_CHOSEN_WITH):
                    raise
            self._refuse(name, error)

    def _refuse(self, name: str, error: Exception) -> NoReturn:
        raise StoreError(
            f"{self.where(name)}: must be readable and writable, got {said(error)}; "
            f"{remedy(error, self._cloud, self._flag)}"
        ) from error


def _relative(path: str, root: str) -> str:
    """Return the name of a path below the root; empty for the root itself.

    Some file systems list paths with a leading slash, others without.
    """
    name = f"/{path.strip('/')}".removeprefix(f"/{root.strip('/')}" if root.strip("/") else "")
    # Further slashes stay as empty parts, which `require_name` refuses.
    return name.removeprefix("/").rstrip("/")
