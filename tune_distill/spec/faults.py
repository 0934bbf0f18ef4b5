"""Validation errors in user-facing words: where, rule, value got, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.shown import listed, plain, shown

Result = TypeVar("Result")

MAX_FAULTS = 20
"""The most faults that one error lists; a last line says if there are more."""

_MORE = "and more faults: mend these first"

_MAX_LINE, _MAX_TEXT = 700, 8000  # characters

# Longer names are not compared, because the time grows with the square of their length.
_LONGEST_NAME = 100

_DOMAIN_TAGS = {"values", "uniform", "loguniform", "int", "cases"}


class FaultsError(ValueError):
    """Several faults that one validator found, each with its place in the file."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def raise_value_faults(lines: Iterable[str]) -> None:
    """Raise the first `MAX_FAULTS` lines, if there are any, as one fault for pydantic to collect.

    Lines beyond the limit are not generated, because each may search for the nearest valid name.

    Raises:
        FaultsError: there are lines.
    """
    if first := _first(lines):
        raise FaultsError(first)


def _first(lines: Iterable[str]) -> list[str]:
    """Return the first lines up to the limits, and a line that says so if there are more."""
    first: list[str] = []
    for line in lines:
        if len(first) == MAX_FAULTS or sum(map(len, first)) > _MAX_TEXT:
            return [*first, _MORE]
        first.append(line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 3]}...")
    return first


def nearest(name: str, valid: tuple[str, ...] | list[str]) -> str:
    """Return `; did you mean ...?` with the closest valid name, or a list of the valid names."""
    name, valid = name[:_LONGEST_NAME], [known[:_LONGEST_NAME] for known in valid]
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if not close:
        # Users often omit the section: learning_rate for train.learning_rate.
        close = [path for path in valid if path.rpartition(".")[2] == name.rpartition(".")[2]][:1]
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {listed(map(plain, valid))}"


def describe(error: ValidationError, model: type[BaseModel], where: str) -> list[str]:
    """Return a line for each fault of `error`, at most `MAX_FAULTS`, each starting with `where`."""
    return _first(f"{where}: {line}" for line in _described(error, model))


def _described(error: ValidationError, model: type[BaseModel]) -> Iterable[str]:
    for fault in error.errors(include_url=False):
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, FaultsError):
            yield from cause.lines
        else:
            yield _line(fault, model)


def raise_faults(faults: Iterable[str]) -> None:
    """Raise the first `MAX_FAULTS` faults, if there are any, as one error with a line for each.

    Raises:
        StudyFileError: there are faults.
    """
    if lines := _first(faults):
        raise StudyFileError("\n".join(lines))


class Collected:
    """Collects the faults of several independent steps."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempt(self, step: Callable[[], Result]) -> Result | None:
        """Return the result of `step`; None if it raises a StudyFileError, which is collected."""
        try:
            return step()
        except StudyFileError as error:
            self.lines += str(error).splitlines()
            return None

    def raise_all(self) -> None:
        """Raise the collected faults as one error, without repeated lines.

        Raises:
            StudyFileError: a step raised one.
        """
        raise_faults(dict.fromkeys(self.lines))


def _line(fault: Any, model: type[BaseModel]) -> str:
    path = _path(fault["loc"])
    location = "".join(f"{plain(part)}." for part in path)[:-1] + ": " if path else ""
    return f"{location}{_rule(fault, model)}"


def _rule(fault: Any, model: type[BaseModel]) -> str:
    kind, context, got = fault["type"], fault.get("ctx", {}), shown(fault["input"])
    tags = ", ".join(sorted(_DOMAIN_TAGS))
    match kind:
        case "extra_forbidden":
            *above, name = fault["loc"]
            return f"unknown key{nearest(str(name), _field_names(model, tuple(above)))}"
        case "missing":
            return "required, got nothing; add it"
        case "value_error":
            return str(context["error"])
        case "union_tag_invalid":
            return f"type must be one of {tags}, got {got}"
        case "union_tag_not_found":
            return f"must be a list of values or have a type ({tags}), got {got}"
        case "model_type" | "dict_type":
            return f"must be a mapping, got {got}"
        case "too_short" | "string_too_short":
            return f"must not be empty, got {got}"
        case "too_long":
            return (
                f"must have at most {context['max_length']:,} entries, got "
                f"{context['actual_length']:,}"
            )
        case "string_too_long":
            return f"must have at most {context['max_length']:,} characters, got {got}"
    message = fault["msg"].removeprefix("Input ").replace("should", "must")
    return f"{message}, got {got}"


def _path(loc: tuple[str | int, ...]) -> list[str]:
    """Return the fault's path as the user wrote it.

    pydantic adds the domain's type below a varied name, and the list shorthand adds the field
    `values`: vary.x.values.values.0 becomes vary.x.0.
    """
    path = [str(part) for part in loc]
    if path[:1] == ["vary"] and len(path) > 2 and path[2] in _DOMAIN_TAGS:
        tag = path.pop(2)
        if len(path) > 3 and path[2] == tag:
            path.pop(2)
    return path


def _field_names(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Return the valid keys at `loc` below `model`."""
    models = [model]
    for part in loc:
        tagged = [candidate for candidate in models if _tag(candidate) == part]
        annotations = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if len(models) > 1 and tagged:
            models = tagged
        elif annotations:
            models = _models(annotations[0])
        # Otherwise the part is a key of a mapping whose values are one of these models.
    return [name for candidate in models[:1] for name in candidate.model_fields]


def _tag(model: type[BaseModel]) -> Any:
    return model.model_fields["type"].default if "type" in model.model_fields else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return every model inside the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
