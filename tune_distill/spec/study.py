"""The study model: one question, what varies, and how it is searched and judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from tune_distill.spec.domains import Domain, Scalar
from tune_distill.spec.faults import raise_value_faults
from tune_distill.spec.metrics import IN_STEPS, JUDGED, METRICS
from tune_distill.spec.section import Section
from tune_distill.spec.shown import plain, shown
from tune_distill.spec.varied import (
    baseline_faults,
    columns_of,
    field_faults,
    fields_of,
    search_faults,
    vary_faults,
)

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[JUDGED]
    """The name of a metric that a study can be judged by."""


class Search(Section):
    """How settings are chosen from the domains."""

    method: Literal["grid", "random", "optuna"] = Field(
        "grid", description="Every combination, seeded draws, or Optuna's TPE"
    )
    num_samples: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Settings tried by random and optuna; a grid tries all of them",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of random draws and of TPE")

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Yield a fault if a grid has a number of samples, or another method has none."""
        if not {"method", "num_samples"} <= parts.keys():
            return
        method, num_samples = parts["method"], parts["num_samples"]
        if method == "grid" and num_samples is not None:
            yield (
                f"search.num_samples: a grid tries every setting, got {num_samples}; "
                "remove it, or use method random"
            )
        if method != "grid" and num_samples is None:
            yield f"search.num_samples: method {method} needs it, got none; add one"


class Asha(Section):
    """Asynchronous successive halving: weak trials are pruned at geometric shares of training.

    Source: Li et al. 2020, arXiv 1810.05934.
    """

    type: Literal["asha"]
    grace_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of the training steps before the first pruning"
    )
    reduction_factor: int = Field(
        3, ge=2, description="One in so many trials passes each rung; rungs grow by this factor"
    )


class Metric(Section):
    """The metric that judges the study and that a search optimises."""

    name: MetricName = "label_accuracy"
    mode: Literal["max", "min"] = "max"

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Yield a fault if a loss is to be maximised, or a score minimised."""
        if not {"name", "mode"} <= parts.keys():
            return
        better = "min" if METRICS[parts["name"]].lower_is_better else "max"
        if parts["mode"] != better:
            yield f"metric.mode: of {parts['name']} must be {better}, got {parts['mode']}"


def _told_in_words(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Report the rule of a study's name in words instead of its pattern."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError(
            "must be 1 to 100 letters, digits, _ and -, the first a letter or digit, "
            f"got {shown(value)}"
        ) from None


Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"), WrapValidator(_told_in_words)
]


class Study(Section):
    """One question: a search space over a profile, a metric and a search method."""

    name: Name = Field(description="Folder of its results; up to 100 letters, digits, _ and -")
    question: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="What the study asks"
    )
    vary: dict[str, Domain] = Field(
        min_length=1,
        description="Dotted profile field, or a name for cases: its domain; several make a product",
    )
    search: Search = Search.model_validate({})
    scheduler: Asha | None = None
    metric: Metric = Metric.model_validate({})
    baseline: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Varied name: its value in the setting that the others are compared with; "
        "the profile's own where it says nothing",
    )
    replicates: int = Field(
        1, ge=1, le=1000, description="Seeds of each setting; --seeds sets it too"
    )
    overrides: dict[str, Scalar] = Field(
        default_factory=dict, description="Dotted profile fields that this study sets"
    )
    profile_overrides: dict[str, dict[str, Scalar]] = Field(
        default_factory=dict, description="The same, for one named profile only"
    )

    @property
    def columns(self) -> dict[str, str]:
        """Return the table column of each varied name."""
        return columns_of(self.vary)

    def varied_fields(self) -> set[str]:
        """Return every dotted field that a setting changes, including the fields of cases."""
        return {path for name, domain in self.vary.items() for path in fields_of(name, domain)}

    @field_validator("vary")
    @classmethod
    def _varied_fields_exist(cls, vary: dict[str, Domain]) -> dict[str, Domain]:
        raise_value_faults(vary_faults(vary))
        return vary

    @field_validator("overrides")
    @classmethod
    def _overridden_fields_exist(cls, overrides: dict[str, Scalar]) -> dict[str, Scalar]:
        raise_value_faults(field_faults("overrides", overrides))
        return overrides

    @field_validator("profile_overrides")
    @classmethod
    def _profile_fields_exist(
        cls, overrides: dict[str, dict[str, Scalar]]
    ) -> dict[str, dict[str, Scalar]]:
        raise_value_faults(
            fault
            for profile, fields in overrides.items()
            for fault in field_faults(f"profile_overrides.{plain(profile)}", fields)
        )
        return overrides

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Yield faults of sections that contradict each other."""
        if {"vary", "search"} <= parts.keys():
            yield from search_faults(parts["search"].method, parts["vary"])
        if {"scheduler", "metric"} <= parts.keys() and parts["scheduler"] is not None:
            metric = parts["metric"].name
            if metric not in IN_STEPS:
                yield (
                    f"metric.name: with a scheduler it must be {' or '.join(IN_STEPS)}, "
                    f"which trials report while training, got {metric}; "
                    "change it, or remove the scheduler"
                )
        if {"vary", "baseline"} <= parts.keys():
            yield from baseline_faults(parts["baseline"], parts["vary"])
