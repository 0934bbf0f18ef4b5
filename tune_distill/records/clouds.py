"""fsspec's file systems, and what differs between clouds: packages, credentials and errors."""

from __future__ import annotations

import glob
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec

from tune_distill.spec.errors import StoreError
from tune_distill.spec.redaction import keep_secrets_of, redacted

# With these protocols an upload becomes visible only when it is complete, and renames are copies.
WHOLE_UPLOADS = {"s3", "s3a", "gs", "gcs"}

# The extra of tune_distill that supports a protocol; for other protocols fsspec names the package.
CLOUDS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}

_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role that may list, "
    "read, write and delete there",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS, as "
    "one who may list, read, write and delete there",
}

# By default, s3fs keeps ten pieces of 50 MiB of each file in memory at once.
_PIECE_BYTES = 8 * 1024 * 1024
PUT_OPTIONS: dict[str, dict[str, int]] = {
    "s3": {"chunksize": _PIECE_BYTES, "max_concurrency": 2},
    "gs": {"chunksize": _PIECE_BYTES},
}

# Attempts while S3 reports a conflict between two writers.
_NUM_CREATE_TRIES = 10


def open_system(uri: str, flag: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of `uri` and the path in it, without a request to it.

    Raises:
        StoreError: fsspec does not know the protocol, its package is not installed, or the URI
            has a form that the protocol does not support.
    """
    keep_secrets_of(uri)
    try:
        # A separate instance without a cache of listings, because other processes write there too.
        system, root = fsspec.core.url_to_fs(
            uri, skip_instance_cache=True, use_listings_cache=False
        )
    except ImportError as error:
        extra = CLOUDS.get(protocol(uri))
        remedy = f"pip install 'tune_distill[{extra}]'" if extra else str(error)
        raise StoreError(
            f"{flag}: {protocol(uri)}:// needs a package that is not installed, got {uri}; {remedy}"
        ) from error
    # Each file system parses its URI itself, and raises errors of its own.
    except Exception as error:
        raise StoreError(
            f"{flag}: must be a folder or a URI that fsspec can open, got {uri} "
            f"({said(error)}); choose another, such as s3://bucket/folder"
        ) from error
    if not root.strip("/") and protocol(uri) in CLOUDS:
        raise StoreError(
            f"{flag}: must name a bucket, got {uri}; write {uri.rstrip('/:')}://bucket/folder"
        )
    if glob.has_magic(root):
        raise StoreError(
            f"{flag}: a URI must be without *, ? and [, which fsspec takes for patterns, got "
            f"{uri}; choose another"
        )
    return system, root


def protocol(uri: str) -> str:
    """Return the part of the URI before `://`."""
    return uri.partition("://")[0]


def create_object(system: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    """Write the object if none has this path; return whether this call wrote it."""
    for attempt in range(_NUM_CREATE_TRIES):
        try:
            system.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            code = _error_code(error)
            # Not every server names the condition that failed, but the request has only one.
            if code == "PreconditionFailed":
                return False
            # S3 asks for another attempt if two writers come at the same moment.
            if code != "ConditionalRequestConflict":
                raise
            time.sleep(0.1 * (attempt + 1))
        else:
            return True
    raise TimeoutError(f"conflicts with other writers {_NUM_CREATE_TRIES} times")


def remedy(error: Exception, cloud: str | None, flag: str) -> str:
    """Return the remedy to suggest for an error of a file system."""
    if isinstance(error, FileNotFoundError) and cloud:
        return f"make the bucket first, or choose another with {flag}"
    if _is_about_access(error):
        return _CREDENTIALS.get(cloud or "", "ask for access there") + (
            f", or choose another place with {flag}"
        )
    return (
        "check the network and the URI, and give the same command again, "
        f"or choose another place with {flag}"
    )


def said(error: Exception) -> str:
    """Return the error's type and text in one line of at most a few hundred characters."""
    text = redacted(" ".join(str(error).split()))
    text = text if len(text) <= 400 else f"{text[:400]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_about_access(error: Exception) -> bool:
    """Return whether credentials are missing or insufficient."""
    # botocore, google.auth and the others share no base class; gcsfs raises an OSError
    # "Forbidden".
    return isinstance(error, PermissionError) or bool(
        re.search(r"credential|forbidden|anonymous|denied", said(error), re.IGNORECASE)
    )


def _error_code(error: BaseException) -> str:
    """Return S3's code of the error that s3fs translated into a Python exception."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


# gcsfs logs each error with a traceback before it raises it.
_LOUD = logging.getLogger("gcsfs")
_level = threading.Lock()
_num_quiet, _former_level = 0, logging.NOTSET


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the log messages of file systems in this block; their errors are still raised.

    Several threads may be in such blocks at once; the last to leave restores the logger's level.
    """
    global _num_quiet, _former_level
    with _level:
        if not _num_quiet:
            _former_level = _LOUD.level
            _LOUD.setLevel(logging.CRITICAL)
        _num_quiet += 1
    try:
        yield
    finally:
        with _level:
            _num_quiet -= 1
            if not _num_quiet:
                _LOUD.setLevel(_former_level)
