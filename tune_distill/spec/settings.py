"""The settings of a study on a profile: the grid, or seeded random draws."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from tune_distill.spec.domains import Cases, Domain, IntRange, Range, Scalar, Values, outside
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import Collected, describe, nearest, raise_faults
from tune_distill.spec.keys import flatten
from tune_distill.spec.profile import Profile, absolute_source, field_paths
from tune_distill.spec.section import Section
from tune_distill.spec.shown import shown
from tune_distill.spec.study import Study

MAX_TRIALS = 100_000
"""The most trials (settings times seeds) of a study; more are likely a mistake in its file."""


@dataclass(frozen=True)
class Setting:
    """One point of a study.

    `values` maps table columns to the values shown there, and `fields` maps dotted profile fields
    to the values set. They differ if the domain is cases.
    """

    values: dict[str, Scalar]
    fields: dict[str, Scalar]


def with_fields(profile: Profile, fields: Mapping[str, Scalar], where: str) -> Profile:
    """Return `profile` with dotted fields set.

    Raises:
        StudyFileError: a field is unknown or a value invalid; it lists every fault.
    """
    known = field_paths()
    raise_faults(
        f"{where}: unknown field {shown(path)}{nearest(path, known)}"
        for path in fields
        if path not in known
    )
    # Unchanged sections are already valid, so the new profile shares them.
    raw: dict[str, Any] = {name: getattr(profile, name) for name in Profile.model_fields}
    for path, value in fields.items():
        section, name = path.split(".")
        if isinstance(raw[section], Section):
            raw[section] = raw[section].model_dump()
        raw[section][name] = value
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        raise StudyFileError("\n".join(describe(error, Profile, where))) from error


def study_profile(
    study: Study, name: str, profile: Profile, chosen: Mapping[str, Scalar]
) -> Profile:
    """Return the profile that the study varies: `profile`, then the study's and user's overrides.

    Raises:
        StudyFileError: a value is invalid, or the study varies a chosen field itself.
    """
    clash = sorted(study.varied_fields() & set(chosen))
    faults = Collected()
    faults.lines += [
        f"--set {path}: study {study.name} varies this field, got {shown(chosen[path])}; "
        "remove it, or change vary in a study file of your own"
        for path in clash
    ]
    for where, fields in (
        (f"study {study.name}: overrides", study.overrides),
        (f"study {study.name}: profile_overrides.{name}", study.profile_overrides.get(name, {})),
        ("--set", chosen),
    ):
        # After a fault, check the next fields on top of the valid ones so far.
        changed = faults.attempt(partial(with_fields, profile, fields, where))
        profile = changed or profile
    faults.raise_all()
    return profile


def domains(study: Study, profile: Profile) -> dict[str, Domain]:
    """Return the study's domains with ranges in the field's own unit.

    Raises:
        StudyFileError: a field does not allow a value of its domain, or the baseline is outside
            its range; it lists every fault.
    """
    defaults = flatten(profile.model_dump())
    scaled: dict[str, Domain] = {}
    faults: list[str] = []
    for name, domain in study.vary.items():
        if not isinstance(domain, Range) or not domain.times_default:
            scaled[name] = domain
        elif isinstance(default := defaults[name], int | float) and default > 0:
            scaled[name] = domain.scaled(default)  # type: ignore[assignment]
        else:
            faults.append(
                f"study {study.name}: vary: {name}: times_default needs a number above 0 in the "
                f"profile, got {shown(default)}; give low and high in the field's own unit"
            )
    for name, domain in scaled.items():
        for value in extremes(domain):
            try:
                with_fields(profile, _fields(name, domain, value), f"study {study.name}: vary")
            except StudyFileError as error:
                faults += str(error).splitlines()
        if name in study.baseline:
            where = f"study {study.name}: baseline.{name}"
            faults += outside(where, domain, study.baseline[name])
    raise_faults(list(dict.fromkeys(faults)))
    return scaled


def settings(study: Study, profile: Profile) -> list[Setting]:
    """Return every setting of a grid or random search, in a fixed order.

    The first k settings of a random search do not depend on the number of samples.
    """
    space = domains(study, profile)
    if study.search.method == "grid":
        names = list(space)
        product = itertools.product(*(_listed(domain) for domain in space.values()))
        return [setting(study, space, dict(zip(names, point, strict=True))) for point in product]
    rng = random.Random(study.search.seed)
    draws = _distinct_draws(space, rng)
    return [
        setting(study, space, point) for point in itertools.islice(draws, study.search.num_samples)
    ]


def require_bounded(study: Study, num_seeds: int) -> None:
    """Check that the study has at most `MAX_TRIALS` trials.

    Raises:
        StudyFileError: the study has more.
    """
    if study.search.method == "grid":
        num_settings = math.prod(_num_listed(domain) for domain in study.vary.values())
    else:
        num_settings = study.search.num_samples or 0
    if num_settings * num_seeds > MAX_TRIALS:
        raise StudyFileError(
            f"study {study.name}: vary: a study may have {MAX_TRIALS:,} trials, got "
            f"{num_settings:,} settings x {num_seeds:,} seeds; widen the steps, or use "
            "search.method random with fewer samples"
        )


def finite_points(space: Mapping[str, Domain], limit: int) -> list[dict[str, Scalar]] | None:
    """Return every point of a finite space; None if it is continuous or has more than `limit`."""
    if any(isinstance(domain, Range) for domain in space.values()):
        return None
    if math.prod(_num_listed(domain) for domain in space.values()) > limit:
        return None
    product = itertools.product(*(_listed(domain) for domain in space.values()))
    return [dict(zip(space, values, strict=True)) for values in product]


def _num_listed(domain: Domain) -> int:
    if isinstance(domain, IntRange):
        return len(range(domain.low, domain.high + 1, domain.step))
    return len(extremes(domain))


def input_profiles(study: Study, profile: Profile) -> list[Profile]:
    """Return profiles that together name every student and corpus that the study may use."""
    space = domains(study, profile)
    chosen = {
        name: extremes(domain)
        for name, domain in space.items()
        if any(
            path.startswith(("student.", "data."))
            for value in extremes(domain)
            for path in _fields(name, domain, value)
        )
    }
    num_profiles = math.prod(map(len, chosen.values()))
    if num_profiles > MAX_TRIALS:
        raise StudyFileError(
            f"study {study.name}: vary: student and data may have {MAX_TRIALS:,} combinations, "
            f"got {num_profiles:,}; list fewer"
        )
    return [
        with_fields(
            profile,
            {
                path: value
                for name, choice in zip(chosen, point, strict=True)
                for path, value in _fields(name, space[name], choice).items()
            },
            f"study {study.name}: vary",
        )
        for point in itertools.product(*chosen.values())
    ]


def baseline(study: Study, profile: Profile) -> Setting | None:
    """Return the baseline, the setting that all others are compared with.

    It has the values that the study's file names, and otherwise those of `profile`. Return None if
    a domain does not contain its value.
    """
    own = flatten(profile.model_dump())
    space = domains(study, profile)
    point: dict[str, Scalar] = {}
    for name, domain in space.items():
        values = _baseline_values(name, domain, study, own)
        if not values:
            return None
        point[name] = values[0]
    return setting(study, space, point)


def _baseline_values(
    name: str, domain: Domain, study: Study, own: Mapping[str, Scalar]
) -> list[Scalar]:
    """Return candidate baseline values from the domain, in its own notation, best match first."""
    if isinstance(domain, Range | IntRange):
        value = study.baseline.get(name, own[name])
        if not domain.holds(value):
            return []
        # A search draws floats, and trial names distinguish 1 from 1.0.
        return [float(value) if isinstance(domain, Range) else value]  # type: ignore[arg-type]
    if name in study.baseline:
        return [value for value in _listed(domain) if value == study.baseline[name]]
    return [
        value for value in _listed(domain) if _fields(name, domain, value).items() <= own.items()
    ]


def setting(study: Study, space: Mapping[str, Domain], point: Mapping[str, Scalar]) -> Setting:
    """Return the setting at `point`, which maps each varied name to a value or case name."""
    fields: dict[str, Scalar] = {}
    for name, value in point.items():
        fields |= _fields(name, space[name], value)
    return Setting({study.columns[name]: value for name, value in point.items()}, fields)


def _distinct_draws(space: Mapping[str, Domain], rng: random.Random) -> Iterator[dict[str, Scalar]]:
    seen = set()
    misses = 0
    # A small discrete space may have no further points: stop after many repeated draws.
    while misses < 1000:
        point = {name: domain.draw(rng) for name, domain in space.items()}
        key = tuple(point.values())
        if key in seen:
            misses += 1
            continue
        seen.add(key)
        misses = 0
        yield point


def _listed(domain: Domain) -> list[Scalar]:
    if isinstance(domain, Values):
        return domain.values
    if isinstance(domain, Cases):
        return list(domain.cases)
    if isinstance(domain, IntRange):
        return list(range(domain.low, domain.high + 1, domain.step))
    raise AssertionError(f"{domain.type} in a grid passed Study's checks")


def extremes(domain: Domain) -> list[Scalar]:
    """Return values of the domain; if they are valid for a field, all of the domain's are."""
    if isinstance(domain, Range | IntRange):
        return [domain.low, domain.high]
    return _listed(domain)


def _fields(name: str, domain: Domain, value: Scalar) -> dict[str, Scalar]:
    fields = dict(domain.cases[str(value)]) if isinstance(domain, Cases) else {name: value}
    return {
        # Make paths absolute in the driver, because workers run in other directories.
        path: absolute_source(set_to)
        if path.endswith(".source") and isinstance(set_to, str)
        else set_to
        for path, set_to in fields.items()
    }
