"""The points of a search space that lead to different trials."""

from __future__ import annotations

from collections.abc import Mapping

from tune_distill.spec.domains import Domain, Scalar
from tune_distill.spec.plan import Identities, ResolvedStudy, Trial
from tune_distill.spec.settings import domains, finite_points, setting

# A larger space is not listed, because few searches have as many samples.
_MOST_LISTED = 1_000


def distinct_points(
    resolved: ResolvedStudy, identities: Identities
) -> list[dict[str, Scalar]] | None:
    """Return the points of a small finite space; None for any other space.

    Points that lead to the same trial, as fractions that round to one number of examples, are
    listed once.
    """
    space = domains(resolved.study, resolved.profile)
    points = finite_points(space, _MOST_LISTED)
    if points is None:
        return None
    first: dict[str, dict[str, Scalar]] = {}
    for point in points:
        first.setdefault(trial_at(resolved, space, point, identities).evaluation_key, point)
    return list(first.values())


def trial_at(
    resolved: ResolvedStudy,
    space: Mapping[str, Domain],
    point: Mapping[str, Scalar],
    identities: Identities,
) -> Trial:
    """Return the trial at a point of the study's space with the first seed, as in a search."""
    return resolved.trial(setting(resolved.study, space, point), resolved.seeds[0], identities)


def point_of(resolved: ResolvedStudy, trial: Trial) -> dict[str, Scalar]:
    """Return the trial's point."""
    return {name: trial.setting.values[column] for name, column in resolved.study.columns.items()}
