"""What a study is: one question, what varies, how it is searched and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from tune_distill.spec.domains import Cases, Domain, IntRange, Range, Scalar, Values, outside
from tune_distill.spec.faults import nearest, raise_value_faults
from tune_distill.spec.profile import column_name, field_paths, value_faults
from tune_distill.spec.section import Section
from tune_distill.spec.shown import plain, shown

PROGRESS_METRICS = ("eval_loss",)
"""Metrics that a trial reports while it trains; a scheduler can only prune by one of these."""

# fmt: off
FIXED_COLUMNS = frozenset({
    "study", "trial_id", "state", "error", "seed", "label_accuracy", "parse_rate", "rouge1",
    "rouge2", "rougeL", "faithfulness", "faithfulness_ceiling", "grounding", "bertscore",
    "eval_loss", "final_train_loss", "training_time_s", "decode_time_s", "examples_per_s",
    "num_steps", "num_train", "num_validation", "source_truncated_fraction",
    "target_truncated_fraction", "device", "instruction_set", "precision", "run_key",
    "evaluation_key", "reused", "num_retries", "config",
})
# fmt: on
"""Columns that every trials table has (records/schemas.py); cases of such a name would hide one."""

MAX_NAME = 200
"""Longest name of a case, which trials' names and tables repeat, in characters."""

MetricName = Literal[
    "label_accuracy",
    "parse_rate",
    "rouge1",
    "rouge2",
    "rougeL",
    "faithfulness",
    "grounding",
    "eval_loss",
]


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
        """A fault where a grid has a number of samples, or another method has none."""
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
    """What the study is judged by, and optimised for."""

    name: MetricName = "label_accuracy"
    mode: Literal["max", "min"] = "max"

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """A fault where a loss is to be maximised, or a score minimised."""
        if not {"name", "mode"} <= parts.keys():
            return
        better = "min" if parts["name"] in PROGRESS_METRICS else "max"
        if parts["mode"] != better:
            yield f"metric.mode: of {parts['name']} must be {better}, got {parts['mode']}"


def _told_in_words(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Say the rule of a study's name in words, in place of its pattern."""
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
        """The table column of each varied name."""
        return _columns(self.vary)

    def varied_fields(self) -> set[str]:
        """Every dotted field that some setting changes, the fields of cases included."""
        return {path for name, domain in self.vary.items() for path in _fields(name, domain)}

    @field_validator("vary")
    @classmethod
    def _varied_fields_exist(cls, vary: dict[str, Domain]) -> dict[str, Domain]:
        raise_value_faults(_vary_faults(vary))
        return vary

    @field_validator("overrides")
    @classmethod
    def _overridden_fields_exist(cls, overrides: dict[str, Scalar]) -> dict[str, Scalar]:
        raise_value_faults(_field_faults("overrides", overrides))
        return overrides

    @field_validator("profile_overrides")
    @classmethod
    def _profile_fields_exist(
        cls, overrides: dict[str, dict[str, Scalar]]
    ) -> dict[str, dict[str, Scalar]]:
        raise_value_faults(
            fault
            for profile, fields in overrides.items()
            for fault in _field_faults(f"profile_overrides.{plain(profile)}", fields)
        )
        return overrides

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Faults of sections that do not fit together."""
        if {"vary", "search"} <= parts.keys():
            yield from _search_faults(parts["search"].method, parts["vary"])
        if {"scheduler", "metric"} <= parts.keys() and parts["scheduler"] is not None:
            metric = parts["metric"].name
            if metric not in PROGRESS_METRICS:
                yield (
                    f"metric.name: with a scheduler it must be {' or '.join(PROGRESS_METRICS)}, "
                    f"which trials report while training, got {metric}; "
                    "change it, or remove the scheduler"
                )
        if {"vary", "baseline"} <= parts.keys():
            yield from _baseline_faults(parts["baseline"], parts["vary"])


def _search_faults(method: str, vary: Mapping[str, Domain]) -> Iterator[str]:
    """Faults of domains that the search's method cannot choose from."""
    for name, domain in vary.items():
        if method == "grid" and not isinstance(domain, Values | Cases | IntRange):
            yield (
                f"vary.{plain(name)}: a grid needs listed values, got {domain.type}; "
                "list them, or use search.method random or optuna"
            )
    if method == "optuna" and isinstance(vary.get("data.num_train"), IntRange):
        # The simulator belongs to the pool, and is fitted before the search chooses.
        yield (
            "vary.data.num_train: optuna needs listed values here, got int; "
            "list them, or vary data.train_fraction"
        )


def _baseline_faults(baseline: Mapping[str, Scalar], vary: Mapping[str, Domain]) -> Iterator[str]:
    """A fault for each name that is not varied, and each value that its domain does not hold.

    Factors on the profile's own value are left to `settings.domains`, which knows the profile.
    """
    for name, value in baseline.items():
        where = f"baseline.{plain(name)}"
        if name not in vary:
            hint = nearest(name, list(vary))
            yield f"{where}: must be a name under vary, got {shown(name)}{hint}"
        elif not isinstance(domain := vary[name], Range) or not domain.times_default:
            yield from outside(where, domain, value)


def _vary_faults(vary: Mapping[str, Domain]) -> Iterator[str]:
    """Faults of names, fields and values; of fields set twice where there are no others."""
    faultless = True
    for name, domain in vary.items():
        for fault in _domain_faults(name, domain):
            faultless = False
            yield fault
    if faultless:
        yield from _shared(vary)


def _domain_faults(name: str, domain: Domain) -> Iterator[str]:
    where = f"vary.{plain(name)}"
    if isinstance(domain, Cases):
        if not name.isidentifier() or len(name) > MAX_NAME:
            yield (
                f"{where}: the name of cases must be a plain word of at most {MAX_NAME} letters, "
                f"got {shown(name)}"
            )
        if name in FIXED_COLUMNS:
            yield (
                f"{where}: the name of cases must not be a column that every table has, "
                f"got {shown(name)}; rename it"
            )
        for case, fields in domain.cases.items():
            if len(case) > MAX_NAME:
                yield f"{where}: a case's name may have {MAX_NAME} characters, got {shown(case)}"
            yield from _field_faults(f"{where}.{plain(case)}", fields)
    elif name not in field_paths():
        yield f"{where}: unknown field {shown(name)}{nearest(name, field_paths())}"
    elif not isinstance(domain, Range) or not domain.times_default:
        ends = domain.values if isinstance(domain, Values) else [domain.low, domain.high]
        for value in ends:
            yield from value_faults(where, name, value)


def _columns(vary: Mapping[str, Domain]) -> dict[str, str]:
    return {
        name: name if isinstance(domain, Cases) else column_name(name)
        for name, domain in vary.items()
    }


def _shared(vary: Mapping[str, Domain]) -> Iterator[str]:
    """A fault for each column and each field that two varied names would set."""
    columns = Counter(_columns(vary).values())
    fields = Counter(path for name, domain in vary.items() for path in _fields(name, domain))
    for column, times in columns.items():
        if times > 1:
            yield f"vary: two fields share the column {column!r}; vary one of them"
    for path, times in fields.items():
        if times > 1:
            yield f"vary: two names set the field {path!r}; vary it once"


def _fields(name: str, domain: Domain) -> set[str]:
    """The dotted fields that the domain's values set."""
    if isinstance(domain, Cases):
        return {path for case in domain.cases.values() for path in case}
    return {name}


def _field_faults(where: str, fields: Mapping[str, Scalar]) -> Iterator[str]:
    """A fault for each unknown dotted field, and each value outside its field's rule."""
    known = field_paths()
    for path, value in fields.items():
        place = f"{where}.{plain(path)}"
        if path not in known:
            yield f"{place}: unknown field {shown(path)}{nearest(path, known)}"
        else:
            yield from value_faults(place, path, value)
