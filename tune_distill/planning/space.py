"""The points of a search space that are trials of their own."""

from __future__ import annotations

from collections.abc import Mapping

from tune_distill.spec.domains import Domain, Scalar
from tune_distill.spec.plan import Identities, ResolvedStudy, Trial
from tune_distill.spec.settings import domains, finite_points, setting

# A larger space is not listed: few searches ask for as many samples.
_MOST_LISTED = 1_000


def distinct_points(
    resolved: ResolvedStudy, identities: Identities
) -> list[dict[str, Scalar]] | None:
    """The points of a small finite space; None of any other. Of points that are the same trial,
    as when two fractions round to as many examples, one is there."""
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
    """The trial at a point of the study's space, with the first seed: searches explore with it."""
    return resolved.trial(setting(resolved.study, space, point), resolved.seeds[0], identities)


def point_of(resolved: ResolvedStudy, trial: Trial) -> dict[str, Scalar]:
    """The point that the trial is at."""
    return {name: trial.setting.values[column] for name, column in resolved.study.columns.items()}
