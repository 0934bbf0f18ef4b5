"""The base model for groups of fields, whose validation reports all faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import InitErrorDetails

from tune_distill.spec.effect import Keyed
from tune_distill.spec.faults import FaultsError, raise_value_faults


class Section(Keyed):
    """A frozen, strict group of fields. Rules across several fields are in `cross_faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Yield faults of combinations of valid fields, each with its place in the file.

        `parts` maps names of fields to their values, without fields that are invalid themselves.
        """
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _tell_all_faults(cls, raw: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            section = validate(raw)
        except ValidationError as error:
            found = list(cls.cross_faults(_valid_parts(cls, raw, error)))
            if not found:
                raise
            details = [_again(fault) for fault in error.errors(include_url=False)]
            details.append(_again({"type": "value_error", "ctx": {"error": FaultsError(found)}}))
            raise ValidationError.from_exception_data(cls.__name__, details) from error
        raise_value_faults(cls.cross_faults(dict(section)))
        return section


@cache
def single_field(model: type[BaseModel], name: str) -> type[BaseModel]:
    """Return a model of this one field, without rules across fields."""
    info = model.model_fields[name]
    fields: dict[str, Any] = {name: (info.annotation, info)}
    return create_model(f"{model.__name__}.{name}", __config__=Section.model_config, **fields)


def _valid_parts(model: type[BaseModel], raw: Any, error: ValidationError) -> dict[str, Any]:
    """Return the fields of `raw` without faults, and defaults unless a key is unknown."""
    if not isinstance(raw, Mapping):
        return {}
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    faulty = {fault["loc"][:1] for fault in faults}
    misspelt = any(
        fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1 for fault in faults
    )
    parts = {}
    for name, info in model.model_fields.items():
        if (name,) in faulty:
            continue
        if name in raw:
            parts[name] = getattr(single_field(model, name)(**{name: raw[name]}), name)
        elif not misspelt and not info.is_required():
            parts[name] = info.get_default(call_default_factory=True)
    return parts


def _again(fault: Any) -> InitErrorDetails:
    return InitErrorDetails(
        type=fault["type"],
        loc=fault.get("loc", ()),
        input=fault.get("input"),
        ctx=fault.get("ctx", {}),
    )
