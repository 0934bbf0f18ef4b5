"""Validation errors in the words of a user: where, rule, value got, remedy."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tune_distill.spec.errors import StudyFileError

_DOMAIN_TAGS = {"values", "uniform", "loguniform", "int", "cases"}


class FaultsError(ValueError):
    """Several faults that one validator found, each with its own place."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def raise_value_faults(lines: list[str]) -> None:
    """Nothing where `lines` is empty; otherwise all of them, for pydantic to collect."""
    if lines:
        raise FaultsError(lines)


def nearest(name: str, valid: tuple[str, ...] | list[str]) -> str:
    """`; did you mean ...?` for the closest valid name, or the list where nothing is close."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if not close:
        # A field without its section is a common slip: learning_rate for train.learning_rate.
        close = [path for path in valid if path.rpartition(".")[2] == name.rpartition(".")[2]][:1]
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(valid)}"


def describe(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """One line for each fault of `error`, in file order, each starting with `where`."""
    lines: list[str] = []
    for fault in error.errors(include_url=False):
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, FaultsError):
            lines += [f"{where}: {line}" for line in cause.lines]
        else:
            lines.append(_line(fault, model, where))
    return lines


def raise_faults(faults: list[str]) -> None:
    """Nothing where `faults` is empty.

    Raises:
        StudyFileError: all of the faults at once, a line each.
    """
    if faults:
        raise StudyFileError("\n".join(faults))


def _line(fault: Any, model: type[BaseModel], where: str) -> str:
    path = [str(part) for part in fault["loc"] if part not in _DOMAIN_TAGS]
    location = f"{where}: {'.'.join(path)}" if path else where
    kind, got = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        valid = _field_names(model, path[:-1])
        return f"{location}: unknown key{nearest(path[-1], valid)}"
    if kind == "missing":
        return f"{location}: required, got nothing; add it"
    if kind == "value_error":
        return f"{location}: {fault['ctx']['error']}"
    if kind == "union_tag_invalid":
        return f"{location}: type must be one of {', '.join(sorted(_DOMAIN_TAGS))}, got {got!r}"
    if kind == "union_tag_not_found":
        return (
            f"{location}: must be a list of values or have a type "
            f"({', '.join(sorted(_DOMAIN_TAGS))}), got {got!r}"
        )
    message = fault["msg"].removeprefix("Input ").replace("should", "must")
    return f"{location}: {message}, got {got!r}"


def _field_names(model: type[BaseModel], path: list[str]) -> list[str]:
    """The valid keys at `path` below `model`."""
    for part in path:
        info = model.model_fields.get(part)
        if info is None:
            break
        models = [
            candidate
            for candidate in (info.annotation, *get_args(info.annotation))
            if isinstance(candidate, type) and issubclass(candidate, BaseModel)
        ]
        if not models:
            break
        model = models[0]
    return list(model.model_fields)
