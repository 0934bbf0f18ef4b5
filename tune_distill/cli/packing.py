"""Packing files into one reproducible archive that is small enough for a cluster's head."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tune_distill.records.leftovers import scratch
from tune_distill.spec.errors import StudyFileError

LIMIT_BYTES = 100 * 2**20
"""The largest upload that a head's dashboard accepts."""

# These are already compressed, or contain numbers that do not compress.
_STORED = (".safetensors", ".parquet", ".png")
_EPOCH = (1980, 1, 1, 0, 0, 0)

REMEDY = "put it on the cluster's head and name it by its absolute path there, or use a hub id"


@dataclass
class Bundle:
    """The files to send by their places in the archive; `notes` are messages for the user."""

    files: dict[str, Path | bytes]
    notes: list[str] = field(default_factory=list)

    def write(self, archive: Path) -> None:
        """Write a zip of the files to `archive`.

        Raises:
            StudyFileError: the archive is larger than a head accepts.
        """
        if not _packs(self.files, archive):
            largest, num_bytes = _largest(self.files)
            raise StudyFileError(
                f"submit: what travels must pack into {mib(LIMIT_BYTES)}, got more, of which "
                f"{largest} has {mib(num_bytes)}; {REMEDY}"
            )


def fits(files: Mapping[str, Path | bytes]) -> bool:
    """Return whether the files fit into an archive that a head accepts."""
    if size(files) <= LIMIT_BYTES:
        return True
    with scratch() as folder:
        return _packs(files, folder / "fits.zip")


def _packs(files: Mapping[str, Path | bytes], archive: Path) -> bool:
    """Pack the files into `archive`; return whether it is small enough for a cluster's head."""
    with archive.open("wb") as stream, zipfile.ZipFile(stream, "w") as packed:
        for place in sorted(files):
            content = files[place]
            member = zipfile.ZipInfo(place, _EPOCH)
            member.external_attr = 0o644 << 16
            stored = place.endswith(_STORED)
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            if stored and stream.tell() + _bytes(content) > LIMIT_BYTES:
                return False
            if isinstance(content, bytes):
                packed.writestr(member, content)
            else:
                member.file_size = content.stat().st_size
                with content.open("rb") as source, packed.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            if stream.tell() > LIMIT_BYTES:
                return False
    return archive.stat().st_size <= LIMIT_BYTES


def _largest(files: Mapping[str, Path | bytes]) -> tuple[str, int]:
    """Return the directory with the most bytes, and its size in bytes."""
    sizes: dict[str, int] = {}
    for content in files.values():
        if isinstance(content, Path):
            folder = str(content.parent)
            sizes[folder] = sizes.get(folder, 0) + _bytes(content)
    return max(sizes.items(), key=lambda item: item[1])


def size(files: Mapping[str, Path | bytes]) -> int:
    """Return the size of all files together in bytes."""
    return sum(_bytes(content) for content in files.values())


def _bytes(content: Path | bytes) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def mib(num_bytes: int) -> str:
    """Return a size in MiB as text."""
    return f"{num_bytes / 2**20:.0f} MiB"
