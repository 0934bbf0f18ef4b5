"""The varied names of a study: their columns and fields, and the faults of names and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tune_distill.spec.domains import Cases, Domain, IntRange, Range, Scalar, Values, outside
from tune_distill.spec.faults import nearest
from tune_distill.spec.metrics import metric_columns
from tune_distill.spec.profile import column_name, field_paths, value_faults
from tune_distill.spec.shown import plain, shown

# fmt: off
FIXED_COLUMNS = frozenset({
    *metric_columns(),
    "study", "trial_id", "state", "error", "seed", "final_train_loss", "training_time_s",
    "decode_time_s", "examples_per_s", "num_steps", "num_train", "num_validation",
    "source_truncated_fraction", "target_truncated_fraction", "device", "instruction_set",
    "precision", "run_key", "evaluation_key", "reused", "num_retries", "config",
})
# fmt: on
"""The columns of every trials table (records/schemas.py); cases must not have such a name."""

_TASK = "task.source"

MAX_NAME = 200
"""The longest name of a case in characters; trial names and tables repeat it."""


def search_faults(method: str, vary: Mapping[str, Domain]) -> Iterator[str]:
    """Yield faults of domains that the search's method cannot choose from."""
    for name, domain in vary.items():
        if method == "grid" and not isinstance(domain, Values | Cases | IntRange):
            yield (
                f"vary.{plain(name)}: a grid needs listed values, got {domain.type}; "
                "list them, or use search.method random or optuna"
            )
    if method == "optuna" and isinstance(vary.get("data.num_train"), IntRange):
        # A simulator is fitted to each pool before the search starts, so the pools must be listed.
        yield (
            "vary.data.num_train: optuna needs listed values here, got int; "
            "list them, or vary data.train_fraction"
        )


def baseline_faults(baseline: Mapping[str, Scalar], vary: Mapping[str, Domain]) -> Iterator[str]:
    """Yield a fault for each name that is not varied, and each value outside its domain.

    `settings.domains` checks factors, because it knows the profile's value.
    """
    for name, value in baseline.items():
        where = f"baseline.{plain(name)}"
        if name not in vary:
            hint = nearest(name, list(vary))
            yield f"{where}: must be a name under vary, got {shown(name)}{hint}"
        elif not isinstance(domain := vary[name], Range) or not domain.times_default:
            yield from outside(where, domain, value)


def vary_faults(vary: Mapping[str, Domain]) -> Iterator[str]:
    """Yield faults of names, fields and values; if there are none, those of fields set twice."""
    faultless = True
    for name, domain in vary.items():
        for fault in _domain_faults(name, domain):
            faultless = False
            yield fault
    if faultless:
        yield from _shared(vary)


def _domain_faults(name: str, domain: Domain) -> Iterator[str]:
    where = f"vary.{plain(name)}"
    if _TASK in fields_of(name, domain):
        yield f"{where}: a study must have one task, got {_TASK} varied; run a study for each"
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
            yield from field_faults(f"{where}.{plain(case)}", fields)
    elif name not in field_paths():
        yield f"{where}: unknown field {shown(name)}{nearest(name, field_paths())}"
    elif not isinstance(domain, Range) or not domain.times_default:
        ends = domain.values if isinstance(domain, Values) else [domain.low, domain.high]
        for value in ends:
            yield from value_faults(where, name, value)


def columns_of(vary: Mapping[str, Domain]) -> dict[str, str]:
    return {
        name: name if isinstance(domain, Cases) else column_name(name)
        for name, domain in vary.items()
    }


def _shared(vary: Mapping[str, Domain]) -> Iterator[str]:
    """Yield a fault for each column and each field that two varied names set."""
    columns = Counter(columns_of(vary).values())
    fields = Counter(path for name, domain in vary.items() for path in fields_of(name, domain))
    for column, times in columns.items():
        if times > 1:
            yield f"vary: two fields share the column {column!r}; vary one of them"
    for path, times in fields.items():
        if times > 1:
            yield f"vary: two names set the field {path!r}; vary it once"


def fields_of(name: str, domain: Domain) -> set[str]:
    """Return the dotted fields that the domain's values set."""
    if isinstance(domain, Cases):
        return {path for case in domain.cases.values() for path in case}
    return {name}


def field_faults(where: str, fields: Mapping[str, Scalar]) -> Iterator[str]:
    """Yield a fault for each unknown dotted field and each invalid value."""
    known = field_paths()
    for path, value in fields.items():
        place = f"{where}.{plain(path)}"
        if path not in known:
            yield f"{place}: unknown field {shown(path)}{nearest(path, known)}"
        else:
            yield from value_faults(place, path, value)
