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
    """One line for each fault of `error`, in the order of the model, each starting with `where`."""
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
    path = _path(fault["loc"])
    location = f"{where}: {'.'.join(path)}" if path else where
    kind, got = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        valid = _field_names(model, fault["loc"][:-1])
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
    if kind in {"model_type", "dict_type"}:
        return f"{location}: must be a mapping, got {got!r}"
    message = fault["msg"].removeprefix("Input ").replace("should", "must")
    return f"{location}: {message}, got {got!r}"


def _path(loc: tuple[str | int, ...]) -> list[str]:
    """The place as a user wrote it, without what pydantic and the list shorthand add.

    Below a varied name pydantic puts the domain's type, and then stands the field of that name,
    which a list does not show: vary.x.values.values.0 is vary.x.0.
    """
    path = [str(part) for part in loc]
    if path[:1] == ["vary"] and len(path) > 2 and path[2] in _DOMAIN_TAGS:
        tag = path.pop(2)
        if len(path) > 3 and path[2] == tag:
            path.pop(2)
    return path


def _field_names(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The valid keys at `loc` below `model`."""
    models = [model]
    for part in loc:
        tagged = [candidate for candidate in models if _tag(candidate) == part]
        annotations = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if len(models) > 1 and tagged:
            models = tagged
        elif annotations:
            models = _models(annotations[0])
        # Otherwise the part is a key of a mapping, whose values are one of these models.
    return [name for candidate in models[:1] for name in candidate.model_fields]


def _tag(model: type[BaseModel]) -> Any:
    return model.model_fields["type"].default if "type" in model.model_fields else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model that stands somewhere in the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
