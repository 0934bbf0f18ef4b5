"""The URIs of --store and --results: a folder of this machine, or a remote place."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import ParseResult, unquote, urlparse

from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.spec.errors import StoreError


def open_place(uri: str, flag: str) -> Place:
    """Return the place that `uri` names: a path, file://..., or any other fsspec URI.

    Raises:
        StoreError: fsspec does not know the protocol, or its package is not installed.
    """
    if not is_remote(uri):
        return Folder(local_path(uri, flag))
    return ObjectStore.open(uri, flag)


def is_remote(uri: str) -> bool:
    """Return whether `uri` names a place other than a path of this machine."""
    return "://" in uri and not uri.startswith("file:")


def local_path(uri: str, flag: str) -> Path:
    """Return the folder that `uri` (a path, or file://...) names.

    Raises:
        StoreError: the URI is empty or invalid, or names another machine.
    """
    if not uri.strip():
        # An empty path would be the working directory.
        raise StoreError(f"{flag}: must name a folder or a URI, got {uri!r}")
    parsed = _parsed(uri, flag)
    if "\0" in unquote(uri):
        raise StoreError(f"{flag}: a path must be without NUL, got {uri!r}; choose another")
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        return Path(unquote(parsed.path)).absolute()
    if parsed.scheme == "file":
        raise StoreError(f"{flag}: a file:// URI must be file:///absolute/path, got {uri}")
    try:
        return Path(uri).expanduser().absolute()
    except RuntimeError as error:
        raise StoreError(
            f"{flag}: the user of a ~ must exist, got {uri}; for a folder of that name: ./{uri}"
        ) from error


def _parsed(uri: str, flag: str) -> ParseResult:
    try:
        return urlparse(uri)
    except ValueError as error:
        raise StoreError(f"{flag}: must be a path or a URI, got {uri} ({error})") from error
