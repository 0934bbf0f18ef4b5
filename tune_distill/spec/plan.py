"""The trials of a study, and which of them still have to run.

This module does no I/O: two small protocols provide the identities of the inputs and the content
of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.keys import (
    DataIdentity,
    evaluation_identity,
    key_of,
    run_identity,
)
from tune_distill.spec.profile import Data, Metrics, Profile, Student, Task
from tune_distill.spec.search_identity import search_identity
from tune_distill.spec.settings import (
    Setting,
    domains,
    extremes,
    require_bounded,
    setting,
    settings,
    with_fields,
)
from tune_distill.spec.shown import plain
from tune_distill.spec.study import Study

FinishedState = Literal["complete", "pruned"]


class Identities(Protocol):
    """Identifies students, data sections of a task and BERTScore's encoder by their content."""

    def student_identity(self, student: Student) -> Mapping[str, str]: ...

    def data_identity(self, task: Task, data: Data) -> DataIdentity: ...

    def encoder_identity(self, metrics: Metrics) -> str | None: ...


class Stored(Protocol):
    """Answers whether the store has a run, an evaluation or a mark of a pruned run."""

    def has_run(self, run_key: str) -> bool: ...

    def has_evaluation(self, evaluation_key: str) -> bool: ...

    def is_pruned(self, search_key: str, run_key: str) -> bool: ...


class AskedOnce:
    """Caches identities, because that of a data section takes a digest of all its examples.

    Keep it only while the trials of one study are made: the content of a source may change later.
    """

    def __init__(self, identities: Identities) -> None:
        self.student_identity = cache(identities.student_identity)
        self.data_identity = cache(identities.data_identity)
        self.encoder_identity = cache(identities.encoder_identity)


@dataclass(frozen=True)
class Trial:
    """One setting with one seed: a run and an evaluation, by key.

    `trial_id` is unique within `study`, the name of its study. A study may have a hundred thousand
    trials, so they share their common parts and compute their identities only on demand.
    """

    study: str
    trial_id: str
    setting: Setting
    seed: int
    profile: Profile
    student: Mapping[str, str]
    data: DataIdentity
    encoder: str | None
    run_key: str
    evaluation_key: str

    @property
    def run_identity(self) -> dict[str, Any]:
        return run_identity(self.profile, self.seed, self.student, self.data)

    @property
    def evaluation_identity(self) -> dict[str, Any]:
        return evaluation_identity(self.run_key, self.profile, self.data, self.encoder)


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with the profile that it varies and its seeds, from which its trials follow.

    `profile` contains the study's and the user's overrides.

    Raises:
        StudyFileError: the study has more trials than `MAX_TRIALS`.
    """

    study: Study
    profile_name: str
    profile: Profile
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        require_bounded(self.study, len(self.seeds))

    def trial(self, setting: Setting, seed: int, identities: Identities) -> Trial:
        """Return the trial of one setting with one seed."""
        [trial] = self.replicates(setting, [seed], identities)
        return trial

    def replicates(
        self, setting: Setting, seeds: Iterable[int], identities: Identities
    ) -> list[Trial]:
        """Return the trials of one setting, one for each seed."""
        profile = with_fields(self.profile, setting.fields, f"study {self.study.name}: vary")
        data = identities.data_identity(profile.task, profile.data)
        student = identities.student_identity(profile.student)
        encoder = identities.encoder_identity(profile.metrics)
        trials = []
        # Computed once; each trial then sets its own seed and run key.
        run = run_identity(profile, 0, student, data)
        evaluation = evaluation_identity("", profile, data, encoder)
        for seed in seeds:
            run_key = key_of(run | {"seed": seed})
            evaluation_key = key_of(evaluation | {"run_key": run_key})
            shared = (setting, seed, profile, student, data, encoder)
            name = trial_id(setting, seed)
            trials.append(Trial(self.study.name, name, *shared, run_key, evaluation_key))
        return trials

    def search_key(self, identities: Identities) -> str:
        """Return the key of the search: see `search_identity`."""

        def identity_at(point: Mapping[str, Scalar]) -> dict[str, Any]:
            space = domains(self.study, self.profile)
            alone = setting(self.study, space, point)
            return self.trial(alone, self.study.search.seed, identities).evaluation_identity

        return key_of(search_identity(self.study, self.profile, identity_at))


@dataclass(frozen=True)
class Plan:
    """Trials of a study that run together, and which of them are finished.

    `finished` maps the ids of trials that the store already has to their states.
    `prunes`: the study's scheduler, if it has one, may stop these trials early.
    `asks_optuna`: Optuna hands out the pending trials and chooses `num_new` more; otherwise only
    the pending trials run.
    """

    resolved: ResolvedStudy
    search_key: str
    trials: tuple[Trial, ...]
    finished: dict[str, FinishedState]
    stored_runs: frozenset[str]
    asks_optuna: bool = False
    num_new: int = 0
    prunes: bool = True

    @property
    def is_last(self) -> bool:
        """Return whether no plan of the study follows; a search over several seeds has another."""
        return not self.asks_optuna or len(self.resolved.seeds) == 1

    @property
    def pending(self) -> list[Trial]:
        """Return the trials that have to run."""
        return [trial for trial in self.trials if trial.trial_id not in self.finished]

    @property
    def num_to_run(self) -> int:
        """Return how many trials have to run, including those that Optuna has yet to choose."""
        return len(self.pending) + self.num_new

    @property
    def trainings(self) -> list[Trial]:
        """Return one trial for each run that has to be trained."""
        first: dict[str, Trial] = {}
        for trial in self.pending:
            if trial.run_key not in self.stored_runs:
                first.setdefault(trial.run_key, trial)
        return list(first.values())


def require_effect(resolved: ResolvedStudy, identities: Identities) -> None:
    """Check that each varied name has an effect, for searches, which do not list their settings.

    Raises:
        StudyFileError: two values of a domain lead to the same trial.
    """
    space = domains(resolved.study, resolved.profile)
    for name, domain in space.items():
        ends = [setting(resolved.study, space, {name: value}) for value in extremes(domain)]
        trials = [resolved.trial(end, resolved.seeds[0], identities) for end in ends]
        _require_distinct(resolved.study, trials)


def planned_trials(resolved: ResolvedStudy, identities: Identities) -> list[Trial]:
    """Return every trial of a grid or random study, in the order of settings, then seeds.

    Raises:
        StudyFileError: two settings of the study lead to the same trial.
    """
    study, identities = resolved.study, AskedOnce(identities)
    trials = [
        trial
        for setting in settings(study, resolved.profile)
        for trial in resolved.replicates(setting, resolved.seeds, identities)
    ]
    if study.search.method == "random":
        # Random draws may give the same trial: two fractions may round to one number of examples.
        return list({trial.evaluation_key: trial for trial in reversed(trials)}.values())[::-1]
    _require_distinct(study, trials)
    return trials


def make_plan(
    resolved: ResolvedStudy,
    search_key: str,
    trials: Iterable[Trial],
    stored: Stored,
    *,
    asks_optuna: bool = False,
    num_new: int = 0,
    prunes: bool = True,
) -> Plan:
    """Return the plan of `trials`, with those that the store has as finished."""
    trials = tuple(trials)
    # Ask for each run once, because the store reads its record to answer.
    runs = {trial.run_key for trial in trials}
    stored_runs = frozenset(key for key in runs if stored.has_run(key))
    finished: dict[str, FinishedState] = {}
    for trial in trials:
        if trial.run_key in stored_runs and stored.has_evaluation(trial.evaluation_key):
            finished[trial.trial_id] = "complete"
        elif stored.is_pruned(search_key, trial.run_key):
            finished[trial.trial_id] = "pruned"
    return Plan(resolved, search_key, trials, finished, stored_runs, asks_optuna, num_new, prunes)


def trial_id(setting: Setting, seed: int) -> str:
    """Return a readable name, unique within a study: `label_smoothing=0.1,seed=0`."""
    # repr keeps every digit of a float, so two settings never have the same name.
    parts = [f"{column}={_text(value)}" for column, value in setting.values.items()]
    return ",".join([*parts, f"seed={seed}"])


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _require_distinct(study: Study, trials: list[Trial]) -> None:
    seen: dict[str, Trial] = {}
    for trial in trials:
        twin = seen.setdefault(trial.evaluation_key, trial)
        if twin is not trial:
            decodes = any(path.startswith("decode.") for path in study.varied_fields())
            strategy = trial.profile.decode.strategy
            reason = f"under decode.strategy {strategy}" if decodes else "on the same examples"
            remedy = ", or set the strategy that reads the varied field" if decodes else ""
            raise StudyFileError(
                f"study {study.name}: vary: settings must differ, got {plain(twin.trial_id)} and "
                f"{plain(trial.trial_id)}, which are the same trial {reason}; remove one{remedy}"
            )
