"""Which fields of a section change numbers: those, and no others, are part of a key.

A field is marked where it is declared. An unmarked field is always part of the key. A new field
whose default changes nothing is marked `Neutral(default)`: the keys of older runs stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


class Mark:
    """Says of one field when it leaves no trace in a key."""

    def is_silent(self, section: BaseModel, value: object) -> bool:
        """Return whether the section's numbers do not depend on the field, which has this value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Neutral(Mark):
    """The field changes no number while it has this value."""

    value: Any

    def is_silent(self, section: BaseModel, value: object) -> bool:
        return bool(value == self.value)


@dataclass(frozen=True)
class ByContent(Mark):
    """The field names something outside the profile, whose content is in the key instead."""

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
    """A group of fields that keys hold as far as they are in effect."""

    def in_effect(self) -> dict[str, Any]:
        """The fields that change numbers, with their JSON values."""
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
