"""Sealed records: JSON with its own digest, the keys of its entry, and the digests of its files.

A record is canonical JSON: `content`, `files` (name -> size and SHA-256), `format`, `keys`, `kind`,
and last `sha256`, the digest of the same JSON without it. It is written after the files that it
names, so its presence shows that they are complete.

A later version may add fields to `content`, which this version ignores. A version that changes the
meaning of existing fields must raise FORMAT; such records are refused, not reported as damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_distill.records.digests import DamagedError, FileDigest
from tune_distill.spec.errors import StoreError
from tune_distill.spec.keys import canonical_json

FORMAT = 1

# No part of a name may be hidden, '.' or '..'.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
FileName = Annotated[str, Field(pattern=rf"^{_PART}(/{_PART})*$", max_length=500)]

Content = TypeVar("Content")


class NewerRecordError(StoreError):
    """A newer version of the package wrote the record, in a format that this one cannot read."""


class Sealed(BaseModel, Generic[Content]):
    """A record whose digest is right and whose content fits its schema."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    kind: str
    format: int
    keys: dict[str, str]
    files: dict[FileName, FileDigest]
    content: Content


class _Format(BaseModel):
    format: int


def seal(
    kind: str,
    keys: Mapping[str, str],
    content: Mapping[str, Any],
    files: Mapping[str, FileDigest] | None = None,
) -> bytes:
    """Return the bytes of a record of this content.

    Raises:
        ValueError: a number is not finite.
    """
    named = {name: {"size": d.size, "sha256": d.sha256} for name, d in (files or {}).items()}
    body = {"kind": kind, "format": FORMAT, "keys": keys, "files": named, "content": content}
    # `sha256` sorts after the other names, so that it can be appended.
    head = canonical_json(body).encode()[:-1]
    return head + _tail(head)


def unseal(
    raw: bytes, kind: str, keys: Mapping[str, str], content: type[Content]
) -> Sealed[Content]:
    """Return the record that `seal` wrote, after checking its digest, kind and keys.

    `keys` may be a subset of the record's keys.

    Raises:
        DamagedError: the record is incomplete, was edited, or belongs to another entry.
        NewerRecordError: a newer version wrote it.
    """
    # Check the digest before parsing, because damaged JSON may be of any size and depth.
    size = len(_tail(b""))
    if raw[-size:] != _tail(raw[:-size]):
        raise DamagedError("the record's digest is not that of its content")
    try:
        record = Sealed[content].model_validate_json(raw)  # type: ignore[valid-type]
    except ValidationError as error:
        _require_known_format(raw)
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise DamagedError(f"{field}: {first['msg']}"[:200]) from error
    if record.format > FORMAT:
        _refuse_newer(record.format)
    if record.kind != kind or any(record.keys.get(name) != key for name, key in keys.items()):
        owner = ", ".join(f"{name} {key[:12]}" for name, key in record.keys.items())
        raise DamagedError(f"the record is of another entry: {record.kind} of {owner}"[:200])
    return record


def _tail(head: bytes) -> bytes:
    """Return the bytes that complete the record that begins with `head`."""
    return b',"sha256":"%s"}' % hashlib.sha256(head + b"}").hexdigest().encode()


def _require_known_format(raw: bytes) -> None:
    try:
        found = _Format.model_validate_json(raw).format
    except ValidationError:
        return
    if found > FORMAT:
        _refuse_newer(found)


def _refuse_newer(found: int) -> NoReturn:
    raise NewerRecordError(
        f"must be a record of format {FORMAT}, got {found}, which a newer version of "
        "tune_distill wrote; update tune_distill, or choose another folder with --store"
    )
