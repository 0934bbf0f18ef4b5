"""The identity of a search: what the earlier decisions of Optuna and ASHA depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tune_distill.spec.domains import Cases, Domain, Scalar
from tune_distill.spec.keys import key_of
from tune_distill.spec.profile import SOURCES, Profile
from tune_distill.spec.settings import baseline, domains, extremes
from tune_distill.spec.study import Study

IdentityAt: TypeAlias = Callable[[Mapping[str, Scalar]], dict[str, Any]]
"""Returns the evaluation identity of the profile with only these varied names set."""


def search_identity(study: Study, profile: Profile, identity_at: IdentityAt) -> dict[str, Any]:
    """Return everything that earlier decisions depend on.

    It leaves out the number of samples, so that a widened search goes on. It contains the baseline,
    because Optuna chooses its points after that one, and ASHA spares it.
    """
    space = domains(study, profile)
    spared = baseline(study, profile)
    search = study.search.in_effect()
    search.pop("num_samples", None)
    return {
        "vary": {name: domain.in_effect() for name, domain in space.items()},
        "contents": _contents(study, space, identity_at),
        "search": search,
        "scheduler": study.scheduler and study.scheduler.in_effect(),
        "metric": study.metric.in_effect(),
        "baseline": spared and spared.values,
        "profile": identity_at({}),
    }


def _contents(
    study: Study, space: Mapping[str, Domain], identity_at: IdentityAt
) -> dict[str, list[str]]:
    """Return keys of the content behind each value of the names that vary sources.

    Optuna stores its points by value. If the files at a path change, the scores that it knows for
    this path are no longer valid.
    """
    if study.search.method != "optuna":
        return {}
    return {
        name: [key_of(identity_at({name: value})) for value in extremes(domain)]
        for name, domain in space.items()
        if not SOURCES.isdisjoint(_fields(name, domain))
    }


def _fields(name: str, domain: Domain) -> set[str]:
    """Return the profile's fields that the varied name sets."""
    if not isinstance(domain, Cases):
        return {name}
    return {field for case in domain.cases.values() for field in case}
