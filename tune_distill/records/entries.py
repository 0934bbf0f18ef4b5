"""What all kinds of a store's entries share: they are read whole, or set aside."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_distill.records.digests import DamagedError
from tune_distill.records.places import Place
from tune_distill.records.sealed import Content, Sealed
from tune_distill.records.verified import read_sealed, require_files

logger = logging.getLogger(__name__)


class Entries:
    """Entries in a place, each completed by a sealed record."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def write(self, name: str, content: bytes) -> None:
        """Store the file, in place of the one before, and remove what killed writers left there."""
        with self.place.writing(name) as path:
            path.write_bytes(content)
        self.place.remove_abandoned(name.rpartition("/")[0])

    def read_record(
        self, entry: str, file: str, kind: str, keys: Mapping[str, str], content: type[Content]
    ) -> Sealed[Content] | None:
        """The record that completes the entry, which is `file` in it, or the entry itself. Only a
        missing file is a miss: an entry whose record is damaged is set aside."""
        try:
            return read_sealed(self.place, f"{entry}/{file}".rstrip("/"), kind, keys, content)
        except DamagedError as error:
            self.set_aside_damaged(entry, error)
            return None

    def files_are_whole(self, entry: str, stored: Sealed[Any]) -> bool:
        """Whether the files that the record names are as stored; else the entry is set aside."""
        try:
            require_files(self.place, entry, stored.files)
        except DamagedError as error:
            self.set_aside_damaged(entry, error)
            return False
        return True

    def set_aside_damaged(self, name: str, error: Exception) -> None:
        """Report the entry, damaged as `error` says; it is not found any more."""
        aside = Path(self.place.set_aside(name, "damaged")).name
        logger.warning("%s: damaged (%s); set aside as %s", self.place.where(name), error, aside)
