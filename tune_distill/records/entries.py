"""What all kinds of store entries share: an entry is read whole, or set aside as damaged."""

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
    """Entries in a place; a sealed record, written last, completes each."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def write(self, name: str, content: bytes) -> None:
        """Write or replace the file, and remove what killed writers left in its folder."""
        with self.place.writing(name) as path:
            path.write_bytes(content)
        self.place.remove_abandoned(name.rpartition("/")[0])

    def read_record(
        self, entry: str, file: str, kind: str, keys: Mapping[str, str], content: type[Content]
    ) -> Sealed[Content] | None:
        """Return the record that completes the entry; None if it is missing.

        The record is `file` in the entry, or the entry itself. If it is damaged, set the entry
        aside and return None.
        """
        try:
            return read_sealed(self.place, f"{entry}/{file}".rstrip("/"), kind, keys, content)
        except DamagedError as error:
            self.set_aside_damaged(entry, error)
            return None

    def files_are_whole(self, entry: str, stored: Sealed[Any]) -> bool:
        """Return whether the record's files are as stored; if not, set the entry aside."""
        try:
            require_files(self.place, entry, stored.files)
        except DamagedError as error:
            self.set_aside_damaged(entry, error)
            return False
        return True

    def set_aside_damaged(self, name: str, error: Exception) -> None:
        """Report the entry as damaged by `error`, and rename it so that it is no longer found."""
        aside = Path(self.place.set_aside(name, "damaged")).name
        logger.warning("%s: damaged (%s); set aside as %s", self.place.where(name), error, aside)
