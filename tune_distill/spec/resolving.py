"""Resolving a study: its file, its profile, the user's fields, and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import Collected
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.settings import domains, study_profile
from tune_distill.spec.yaml_files import load_profile, load_study

MOST_SEEDS = 1_000


def resolved_study(
    study: str, profile: str, chosen: Mapping[str, Scalar], num_seeds: int | None
) -> ResolvedStudy:
    """Return the study on the profile; each is given by a shipped name or a file.

    `chosen` are the fields that the user has set, by their dotted names. If `num_seeds` is None,
    the study decides the number of seeds.

    Raises:
        StudyFileError: study, profile or fields are invalid; it lists every fault.
    """
    faults = Collected()
    if num_seeds is not None and (type(num_seeds) is not int or not 1 <= num_seeds <= MOST_SEEDS):
        faults.lines.append(
            f"seeds: must be a whole number from 1 to {MOST_SEEDS}, got {num_seeds!r}"
        )
    read = faults.attempt(lambda: load_study(study))
    base = faults.attempt(lambda: load_profile(profile))
    faults.raise_all()
    assert read is not None
    assert base is not None
    name = Path(profile).stem
    full = study_profile(read, name, base, chosen)
    domains(read, full)
    seeds = range(read.replicates if num_seeds is None else num_seeds)
    return ResolvedStudy(read, name, full, tuple(seeds))


def require_own_folders(studies: Sequence[ResolvedStudy]) -> None:
    """Raise StudyFileError if two studies of one command would write to the same folder."""
    names = [resolved.study.name for resolved in studies]
    for name in names:
        if names.count(name) > 1:
            raise StudyFileError(
                f"name: studies of one command must differ in it, got {name!r} twice; rename one, "
                "or run it by itself"
            )
