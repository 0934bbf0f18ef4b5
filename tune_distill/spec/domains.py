"""Domains of varied fields: a list of values, a range, or named cases."""

from __future__ import annotations

import math
import random
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tune_distill.spec.section import Section
from tune_distill.spec.shown import listed, shown


def _one_fault(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        # pydantic would report three faults: not a text, not a whole number, not a number.
        raise ValueError(f"must be a text, a finite number or null, got {shown(value)}") from None


Scalar: TypeAlias = Annotated[str | int | float | None, WrapValidator(_one_fault)]


class Values(Section):
    """A list of values, in the order that tables and figures show them."""

    type: Literal["values"] = "values"
    values: list[Scalar] = Field(min_length=1, description="The values, each once")

    @model_validator(mode="after")
    def _each_once(self) -> Values:
        seen: set[Scalar] = set()
        for value in self.values:
            if value in seen:
                raise ValueError(f"values must differ, got {shown(value)} twice")
            seen.add(value)
        return self

    @property
    def rule(self) -> str:
        return f"one of {listed(map(shown, self.values), most=10)}"

    def holds(self, value: Scalar) -> bool:
        return value in self.values

    def draw(self, rng: random.Random) -> Scalar:
        return rng.choice(self.values)


class Range(Section):
    """Numbers from low to high, both included."""

    low: float
    high: float
    times_default: bool = Field(
        False, description="low and high are factors on the profile's own value of the field"
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self

    @property
    def rule(self) -> str:
        return f"a number from {self.low} to {self.high}"

    def holds(self, value: Scalar) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def scaled(self, default: float) -> Range:
        """Return the range in the field's own unit: its factors times `default`."""
        if not self.times_default:
            return self
        return self.model_copy(
            update={"low": self.low * default, "high": self.high * default, "times_default": False}
        )


class Uniform(Range):
    """Real numbers, all equally likely."""

    type: Literal["uniform"] = "uniform"

    def draw(self, rng: random.Random) -> Scalar:
        return rng.uniform(self.low, self.high)


class LogUniform(Range):
    """Positive real numbers whose logarithms are equally likely."""

    type: Literal["loguniform"] = "loguniform"

    @model_validator(mode="after")
    def _positive(self) -> LogUniform:
        if self.low <= 0:
            raise ValueError(f"low of a loguniform must be > 0, got {self.low}")
        return self

    def draw(self, rng: random.Random) -> Scalar:
        # exp(log(x)) can lie outside the range by a rounding error.
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)


class IntRange(Section):
    """Whole numbers from low to high, both included, step apart."""

    type: Literal["int"] = "int"
    low: int
    high: int
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _low_below_high(self) -> IntRange:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low {self.low} and high {self.high}")
        return self

    @property
    def rule(self) -> str:
        return f"a whole number from {self.low} to {self.high} in steps of {self.step}"

    def holds(self, value: Scalar) -> bool:
        return isinstance(value, int) and value in range(self.low, self.high + 1, self.step)

    def draw(self, rng: random.Random) -> Scalar:
        return rng.randrange(self.low, self.high + 1, self.step)


class Cases(Section):
    """Named settings of several fields at once; the name is what tables show."""

    type: Literal["cases"] = "cases"
    cases: dict[str, dict[str, Scalar]] = Field(
        min_length=1, description="Name of the case: its fields, dotted, and their values"
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Cases:
        for name, fields in self.cases.items():
            if not fields:
                raise ValueError(f"case {shown(name)} sets no field")
        return self

    @property
    def rule(self) -> str:
        return f"the name of a case, {listed(map(shown, self.cases), ' or ', most=10)}"

    def holds(self, value: Scalar) -> bool:
        return value in self.cases

    def draw(self, rng: random.Random) -> Scalar:
        return rng.choice(list(self.cases))


def _list_is_values(raw: Any) -> Any:
    return {"type": "values", "values": raw} if isinstance(raw, list) else raw


def _type_of(raw: Any) -> str | None:
    return raw.get("type") if isinstance(raw, dict) else getattr(raw, "type", None)


Domain: TypeAlias = Annotated[
    Annotated[Values, Tag("values")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Cases, Tag("cases")],
    Discriminator(_type_of),
    BeforeValidator(_list_is_values),
]


def outside(where: str, domain: Domain, value: Scalar) -> list[str]:
    """Return the fault of a value outside the domain; an empty list for a value inside."""
    if domain.holds(value):
        return []
    return [f"{where}: must be {domain.rule}, got {shown(value)}; choose another, or widen vary"]
