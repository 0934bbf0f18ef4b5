"""The files of a report and what it was made from, so that a damaged report is made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ValidationError

from tune_distill.records.files import write_text
from tune_distill.records.names import read_file
from tune_distill.spec.errors import StoreError

MANIFEST_FILE = "manifest.json"

_MOST_BYTES = 2**24


class _File(BaseModel):
    """Size in bytes, and SHA-256 in hex."""

    size: int
    sha256: str


class _Manifest(BaseModel):
    made_from: str
    files: dict[str, _File]


def write_manifest(folder: Path, made_from: str, names: Iterable[str]) -> None:
    """Write the size and digest of these files, and the digest of what the report is made from."""
    files = {name: _described(folder / name) for name in sorted(names)}
    manifest = _Manifest(made_from=made_from, files=files)
    write_text(folder / MANIFEST_FILE, json.dumps(manifest.model_dump(), indent=2) + "\n")


def is_whole(folder: Path, made_from: str, required: Iterable[str]) -> bool:
    """Return whether the folder has a report made from this, with all of its files intact."""
    try:
        content = read_file(folder, MANIFEST_FILE, _MOST_BYTES)
        manifest = _Manifest.model_validate_json(content)
        return (
            manifest.made_from == made_from
            and set(required) <= manifest.files.keys()
            and all(_is_intact(folder, name, file) for name, file in manifest.files.items())
        )
    except (OSError, ValidationError, StoreError):
        # The manifest is missing, truncated, not a file or unreadable: the report is made again.
        return False


def _is_intact(folder: Path, name: str, file: _File) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    # Compare sizes first, because they show most damage. Only regular files are read.
    target = folder / path
    if target.is_symlink() or not target.is_file():
        return False
    return target.stat().st_size == file.size and _described(target) == file


def _described(path: Path) -> _File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return _File(size=path.stat().st_size, sha256=digest.hexdigest())
