"""Studies and profiles made in one line, and fakes of identities and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import describe
from tune_distill.spec.keys import DataIdentity
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.profile import Data, Metrics, Profile, Section, Student, Task
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study

SMOOTHING = {"train.label_smoothing": [0.0, 0.1, 0.2]}


def make_profile(**sections: dict[str, Any]) -> Profile:
    """Return a profile of the mini student and corpus with these sections changed."""
    basis = {"student": {"source": "mini"}, "data": {"source": "mini-nli", "num_train": 100}}
    names = basis.keys() | sections.keys()
    return Profile.model_validate(
        {name: {**basis.get(name, {}), **sections.get(name, {})} for name in names}
    )


def make_study(vary: Any = None, **fields: Any) -> Study:
    """Return a study named s, which varies label smoothing by default."""
    raw = {"name": "s", "question": "Why?", "vary": SMOOTHING if vary is None else vary}
    return Study.model_validate({**raw, **fields})


def resolved(
    study: Study,
    profile: Profile | None = None,
    *,
    name: str = "mini",
    chosen: Mapping[str, Any] | None = None,
    seeds: tuple[int, ...] = (0,),
) -> ResolvedStudy:
    """Return the study with its profile."""
    profile = study_profile(study, name, profile or make_profile(), chosen or {})
    return ResolvedStudy(study, name, profile, seeds)


def faults(model: type[Section], raw: Any, where: str = "my.yaml") -> list[str]:
    """Return the lines that a user reads about `raw`, which is not a valid `model`."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(raw)
    return describe(caught.value, model, where)


def study_faults(vary: Any = None, **fields: Any) -> list[str]:
    """Return the lines that a user reads about an invalid study, given as for `make_study`."""
    raw = {"name": "s", "question": "Why?", "vary": SMOOTHING if vary is None else vary}
    return faults(Study, {**raw, **fields})


def lines_of(error: pytest.ExceptionInfo[StudyFileError]) -> list[str]:
    """Return the faults of a raised StudyFileError."""
    return str(error.value).splitlines()


class FakeIdentities:
    """Identities made of names alone; each source has 1,000 examples."""

    def student_identity(self, student: Student) -> Mapping[str, str]:
        return {"source": student.source, "revision": student.revision or "main"}

    def data_identity(self, task: Task, data: Data) -> DataIdentity:
        num_pool = data.num_train or 1000
        num_train = max(1, round(num_pool * data.train_fraction))
        num_validation = data.num_validation or 1000
        return DataIdentity(
            train_digest=f"{data.source} train {num_train}",
            num_train=num_train,
            validation_digest=f"{data.source} validation {num_validation}",
            num_validation=num_validation,
            pool_digest=f"{data.source} train {num_pool}",
        )

    def encoder_identity(self, metrics: Metrics) -> str | None:
        return metrics.bertscore_model


@dataclass
class FakeStore:
    """A store with the keys that a test adds."""

    runs: set[str] = field(default_factory=set)
    evaluations: set[str] = field(default_factory=set)
    pruned: set[tuple[str, str]] = field(default_factory=set)

    def has_run(self, run_key: str) -> bool:
        return run_key in self.runs

    def has_evaluation(self, evaluation_key: str) -> bool:
        return evaluation_key in self.evaluations

    def is_pruned(self, search_key: str, run_key: str) -> bool:
        return (search_key, run_key) in self.pruned
