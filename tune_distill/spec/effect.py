"""Marks on the fields of a section that decide whether a field is part of a key.

A key contains the fields that change numbers, and no others. An unmarked field is always part of
the key. Mark a new field whose default changes nothing with `Neutral(default)`, so that the keys
of older runs do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


class Mark:
    """Decides when a field is left out of a key."""

    def is_silent(self, section: BaseModel, value: object) -> bool:
        """Return whether a field with this value has no effect on the section's numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class Neutral(Mark):
    """The field has no effect while it has this value."""

    value: Any

    def is_silent(self, section: BaseModel, value: object) -> bool:
        return bool(value == self.value)


@dataclass(frozen=True)
class ByContent(Mark):
    """The field names something outside the profile, and the key holds its content instead."""

    def is_silent(self, section: BaseModel, value: object) -> bool:
        return True


@dataclass(frozen=True)
class OnlyIf(Mark):
    """The field is read only if another field of its section has this value."""

    field: str
    value: Any

    def is_silent(self, section: BaseModel, value: object) -> bool:
        return bool(getattr(section, self.field) != self.value)


class Keyed(BaseModel):
    """A group of fields, of which keys hold those in effect."""

    def in_effect(self) -> dict[str, Any]:
        """Return the fields that change numbers, with their JSON values."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump().items()
            if not any(
                mark.is_silent(self, value)
                for mark in fields[name].metadata
                if isinstance(mark, Mark)
            )
        }
