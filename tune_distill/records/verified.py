"""Reading a store's files so that what is read is what was stored."""

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
    """The content of a small file; None where there is none.

    Raises:
        DamagedError: it is no regular file, or far too large.
        StoreError: it may not or cannot be read.
    """
    try:
        with explained_reading(place.where, name):
            return place.read(name)
    except FileNotFoundError:
        return None


def read_sealed(
    place: Place, name: str, kind: str, keys: Mapping[str, str], content: type[Content]
) -> Sealed[Content] | None:
    """The record of this name; None where there is none.

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
    """Check that the folder has these files: whole in a folder of this machine, and elsewhere with
    their sizes, because they are checked whole once they are copied here.

    Raises:
        DamagedError: one is not what was stored.
        StoreError: one may not be read.
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
            # Records name files below their folder only.
            require(f"{root}/{name}", digest)


def require_file(place: Place, name: str, digest: FileDigest) -> None:
    """Check that the file is what was stored. One that is elsewhere is copied here for it.

    Raises:
        DamagedError: it is not.
        StoreError: it may not be read.
    """
    with _missing_is_damage(place, name), place.reading(name) as path:
        require(path, digest)


def read_file(place: Place, name: str, digest: FileDigest) -> bytes:
    """Return the content of the file, which is what was stored.

    Raises:
        DamagedError: it is something else.
        StoreError: it may not be read.
    """
    with _missing_is_damage(place, name), place.reading(name) as path:
        return read_verified(path, digest)


@contextmanager
def reading_verified_folder(
    place: Place, name: str, files: Mapping[str, FileDigest]
) -> Iterator[Path]:
    """A folder that has these files, each of them checked, while the block lasts.

    Raises:
        DamagedError: one is not what was stored.
        StoreError: one may not be read.
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
