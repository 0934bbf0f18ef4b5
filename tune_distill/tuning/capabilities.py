"""Capabilities that need undocumented names of Ray, and the check of each name."""

from __future__ import annotations

import importlib
import inspect
import os
from dataclasses import dataclass
from typing import Any

SWITCH = "TUNE_DISTILL_WITHOUT_RAY_NAMES"
"""An environment variable with dotted paths, separated by commas, of names to treat as missing.

`all` stands for all names. It is for tests, and for a Ray in which a name behaves differently.
"""


@dataclass(frozen=True)
class Name:
    """The dotted path of an undocumented name, and the form that we expect of it.

    `takes` lists the parameters of a function in order. `set_by`, for an attribute of instances,
    is the method of its class that sets or reads it.
    """

    path: str
    takes: tuple[str, ...] | None = None
    set_by: str | None = None

    def is_usable(self) -> bool:
        """Return whether this Ray has the name in the form that we use."""
        switched_off = os.environ.get(SWITCH, "").split(",")
        if "all" in switched_off or self.path in switched_off:
            return False
        try:
            if self.set_by is not None:
                owner, _, attribute = self.path.rpartition(".")
                method = resolve(f"{owner}.{self.set_by}")
                return attribute in method.__code__.co_names
            found = resolve(self.path)
            return self.takes is None or tuple(inspect.signature(found).parameters) == self.takes
        except (ImportError, AttributeError, TypeError, ValueError):
            return False


@dataclass(frozen=True)
class Capability:
    """A use of undocumented names, and what a user loses without them."""

    lost: str
    names: tuple[Name, ...]

    def missing(self) -> list[str]:
        """Return the paths of the names that this Ray lacks or has in another form."""
        return [name.path for name in self.names if not name.is_usable()]


def resolve(path: str) -> Any:
    """Return the object at a dotted path.

    Raises:
        ImportError: no prefix of the path is a module.
        AttributeError: the module has no such name.
    """
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(path)
