"""What a study is: one question, what varies, how it is searched and judged."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tune_distill.spec.domains import Cases, Domain, IntRange, Range, Scalar, Values, outside
from tune_distill.spec.faults import FaultsError, nearest, raise_value_faults
from tune_distill.spec.profile import Section, column_name, field_paths

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
        None, ge=1, description="Settings tried by random and optuna; a grid tries all of them"
    )
    seed: int = Field(0, ge=0, description="Seed of random draws and of TPE")

    @model_validator(mode="after")
    def _samples_fit_the_method(self) -> Search:
        if self.method == "grid" and self.num_samples is not None:
            fault = (
                f"search.num_samples: a grid tries every setting, got {self.num_samples}; "
                "remove it, or use method random"
            )
            raise FaultsError([fault])
        if self.method != "grid" and self.num_samples is None:
            fault = f"search.num_samples: method {self.method} needs it, got none; add one"
            raise FaultsError([fault])
        return self


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

    @model_validator(mode="after")
    def _losses_are_minimised(self) -> Metric:
        if (self.name in PROGRESS_METRICS) != (self.mode == "min"):
            better = "min" if self.name in PROGRESS_METRICS else "max"
            raise FaultsError([f"metric.mode: of {self.name} must be {better}, got {self.mode}"])
        return self


class Study(Section):
    """One question: a search space over a profile, a metric and a search method."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")] = Field(
        description="Folder of its results; up to 100 letters, digits, _ and -"
    )
    question: Annotated[str, Field(min_length=1)] = Field(description="What the study asks")
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
    replicates: int = Field(1, ge=1, description="Seeds of each setting; --seeds sets it too")
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
        named: dict[str, str] = {}
        faults = []
        for name, domain in vary.items():
            if not isinstance(domain, Cases):
                named[f"vary.{name}"] = name
                continue
            if not name.isidentifier():
                faults.append(f"vary.{name}: the name of cases must be a plain word, got {name!r}")
            if name in FIXED_COLUMNS:
                faults.append(
                    f"vary.{name}: the name of cases must not be a column that every table has, "
                    f"got {name!r}; rename it"
                )
            for case, fields in domain.cases.items():
                named |= {f"vary.{name}.{case}.{path}": path for path in fields}
        faults += _unknown_fields(named) or _shared(vary)
        raise_value_faults(faults)
        return vary

    @field_validator("overrides")
    @classmethod
    def _overridden_fields_exist(cls, overrides: dict[str, Scalar]) -> dict[str, Scalar]:
        raise_value_faults(_unknown_fields({f"overrides.{path}": path for path in overrides}))
        return overrides

    @field_validator("profile_overrides")
    @classmethod
    def _profile_fields_exist(
        cls, overrides: dict[str, dict[str, Scalar]]
    ) -> dict[str, dict[str, Scalar]]:
        raise_value_faults(
            _unknown_fields(
                {
                    f"profile_overrides.{profile}.{path}": path
                    for profile, fields in overrides.items()
                    for path in fields
                }
            )
        )
        return overrides

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Study:
        faults = []
        if self.search.method == "grid":
            faults += [
                f"vary.{name}: a grid needs listed values, got {domain.type}; "
                "list them, or use search.method random or optuna"
                for name, domain in self.vary.items()
                if not isinstance(domain, Values | Cases | IntRange)
            ]
        if self.search.method == "optuna" and isinstance(self.vary.get("data.num_train"), IntRange):
            # The simulator belongs to the pool, and is fitted before the search chooses.
            faults.append(
                "vary.data.num_train: optuna needs listed values here, got int; "
                "list them, or vary data.train_fraction"
            )
        if self.scheduler is not None and self.metric.name not in PROGRESS_METRICS:
            faults.append(
                f"metric.name: with a scheduler it must be {' or '.join(PROGRESS_METRICS)}, "
                f"which trials report while training, got {self.metric.name}; "
                "change it, or remove the scheduler"
            )
        raise_value_faults(faults + _baseline_faults(self.baseline, self.vary))
        return self


def _baseline_faults(baseline: dict[str, Scalar], vary: dict[str, Domain]) -> list[str]:
    """A fault for each name that is not varied, and each value that its domain does not hold.

    Factors on the profile's own value are left to `settings.domains`, which knows the profile.
    """
    faults = []
    for name, value in baseline.items():
        if name not in vary:
            faults.append(
                f"baseline.{name}: must be a name under vary, got {name!r}"
                f"{nearest(name, list(vary))}"
            )
            continue
        domain = vary[name]
        if not isinstance(domain, Range) or not domain.times_default:
            faults += outside(f"baseline.{name}", domain, value)
    return faults


def _columns(vary: dict[str, Domain]) -> dict[str, str]:
    return {
        name: name if isinstance(domain, Cases) else column_name(name)
        for name, domain in vary.items()
    }


def _shared(vary: dict[str, Domain]) -> list[str]:
    """A fault for each column and each field that two varied names would set."""
    columns = Counter(_columns(vary).values())
    fields = Counter(path for name, domain in vary.items() for path in _fields(name, domain))
    return [
        f"vary: two fields share the column {column!r}; vary one of them"
        for column, times in columns.items()
        if times > 1
    ] + [
        f"vary: two names set the field {path!r}; vary it once"
        for path, times in fields.items()
        if times > 1
    ]


def _fields(name: str, domain: Domain) -> set[str]:
    """The dotted fields that the domain's values set."""
    if isinstance(domain, Cases):
        return {path for case in domain.cases.values() for path in case}
    return {name}


def _unknown_fields(named: dict[str, str]) -> list[str]:
    """A fault for each place (key) whose dotted field (value) no profile has."""
    known = field_paths()
    return [
        f"{where}: unknown field {path!r}{nearest(path, known)}"
        for where, path in named.items()
        if path not in known
    ]
