"""Verified reading of a store's files: what is read is what was stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tune_distill.records.copies import Copies
from tune_distill.records.digests import (
    DamagedError,
    FileDigest,
    read_verified,
    require,
    require_size,
    verified,
)
from tune_distill.records.places import Folder, Place
from tune_distill.records.refusals import explained_reading
from tune_distill.records.sealed import Content, NewerRecordError, Sealed, unseal


def read_bytes(place: Place, name: str) -> bytes | None:
    """Return the content of a small file; None if there is none.

    Raises:
        DamagedError: it is not a regular file, or is far too large.
        StoreError: it cannot be read.
    """
    try:
        with explained_reading(place.where, name):
            return place.read(name)
    except FileNotFoundError:
        return None


def read_sealed(
    place: Place, name: str, kind: str, keys: Mapping[str, str], content: type[Content]
) -> Sealed[Content] | None:
    """Return the record of this name; None if there is none.

    Raises:
        DamagedError: it is not what was stored for these keys.
        StoreError: it cannot be read, or a newer version wrote it.
    """
    raw = read_bytes(place, name)
    if raw is None:
        return None
    try:
        return unseal(raw, kind, keys, content)
    except NewerRecordError as error:
        raise NewerRecordError(f"{place.where(name)}: {error}") from error


def require_files(place: Place, folder: str, files: Mapping[str, FileDigest]) -> None:
    """Check that the folder has these files.

    Local files are checked against their digests. Of remote files only the sizes are checked,
    because their digests are checked when they are downloaded.

    Raises:
        DamagedError: a file is not what was stored.
        StoreError: a file may not be read.
    """
    if isinstance(place, Copies):
        sizes = place.sizes(folder)
        for name, digest in files.items():
            if name not in sizes:
                raise DamagedError(f"{name} is missing")
            require_size(name, sizes[name], digest)
        return
    assert isinstance(place, Folder)
    root = place.path(folder)
    with explained_reading(place.where, folder):
        for name, digest in files.items():
            # FileName keeps these names below their folder.
            require(f"{root}/{name}", digest)


def require_file(place: Place, name: str, digest: FileDigest) -> None:
    """Check that the file is what was stored; a remote file is downloaded for it.

    Raises:
        DamagedError: it is not what was stored.
        StoreError: it may not be read.
    """
    with _missing_is_damage(place, name), place.reading(name) as path:
        require(path, digest)


def read_file(place: Place, name: str, digest: FileDigest) -> bytes:
    """Return the content of the file after checking it.

    Raises:
        DamagedError: it is not what was stored.
        StoreError: it may not be read.
    """
    with _missing_is_damage(place, name), place.reading(name) as path:
        return read_verified(path, digest)


@contextmanager
def reading_verified_folder(
    place: Place, name: str, files: Mapping[str, FileDigest]
) -> Iterator[Path]:
    """Yield a folder with these files after checking them; it is valid in the block only.

    Raises:
        DamagedError: a file is not what was stored.
        StoreError: a file may not be read.
    """
    with ExitStack() as stack:
        with _missing_is_damage(place, name):
            folder = stack.enter_context(place.reading_folder(name))
            for file, digest in files.items():
                stack.enter_context(verified(folder / file, digest))
        yield folder


@contextmanager
def _missing_is_damage(place: Place, name: str) -> Iterator[None]:
    try:
        with explained_reading(place.where, name):
            yield
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(name).name} is missing") from error
