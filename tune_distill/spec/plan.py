"""Which trials a study asks for, and which of them are still to be done.

Pure: what the inputs are and what the store has come in through two small protocols.
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
    """Says what a student, data for a task and BERTScore's encoder are, by content."""

    def student_identity(self, student: Student) -> Mapping[str, str]: ...

    def data_identity(self, task: Task, data: Data) -> DataIdentity: ...

    def encoder_identity(self, metrics: Metrics) -> str | None: ...


class Stored(Protocol):
    """Says what the store has."""

    def has_run(self, run_key: str) -> bool: ...

    def has_evaluation(self, evaluation_key: str) -> bool: ...

    def is_pruned(self, search_key: str, run_key: str) -> bool: ...


class AskedOnce:
    """Identities that are asked for once each: a data section's takes a digest of all its examples.

    For as long as trials are named, not longer: what a source holds may change.
    """

    def __init__(self, identities: Identities) -> None:
        self.student_identity = cache(identities.student_identity)
        self.data_identity = cache(identities.data_identity)
        self.encoder_identity = cache(identities.encoder_identity)


@dataclass(frozen=True)
class Trial:
    """One setting with one seed: a run and an evaluation, by key.

    `trial_id` is unique within `study`, the name of its study. A study may have a hundred thousand,
    so they share what they have in common, and say what their keys are made of only when asked.
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
    """A study with the profile it varies: enough to name every trial of it.

    `profile` carries the study's and the user's overrides; `seeds` are the replicates.

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
        """The trial of one setting with one seed."""
        [trial] = self.replicates(setting, [seed], identities)
        return trial

    def replicates(
        self, setting: Setting, seeds: Iterable[int], identities: Identities
    ) -> list[Trial]:
        """The trials of one setting, which differ in nothing but their seeds."""
        profile = with_fields(self.profile, setting.fields, f"study {self.study.name}: vary")
        data = identities.data_identity(profile.task, profile.data)
        student = identities.student_identity(profile.student)
        encoder = identities.encoder_identity(profile.metrics)
        trials = []
        # Made once; each trial puts its own seed in, and the key that this leads to.
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
        """The key of the search: see `search_identity`."""

        def identity_at(point: Mapping[str, Scalar]) -> dict[str, Any]:
            space = domains(self.study, self.profile)
            alone = setting(self.study, space, point)
            return self.trial(alone, self.study.search.seed, identities).evaluation_identity

        return key_of(search_identity(self.study, self.profile, identity_at))


@dataclass(frozen=True)
class Plan:
    """The trials of a study, and what is left of them.

    `finished` maps the ids of trials that the store already answers to their states.
    `prunes`: the study's scheduler, if it has one, may stop these trials early.
    `asks_optuna`: Optuna hands out the pending trials and chooses `num_new` more; otherwise the
    pending trials are all there is.
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
        """Whether no plan of the study follows: a search with one seed is one by itself."""
        return not self.asks_optuna or len(self.resolved.seeds) == 1

    @property
    def pending(self) -> list[Trial]:
        """Trials that need a worker."""
        return [trial for trial in self.trials if trial.trial_id not in self.finished]

    @property
    def num_to_run(self) -> int:
        """Trials that need a worker, those included that Optuna has yet to choose."""
        return len(self.pending) + self.num_new

    @property
    def trainings(self) -> list[Trial]:
        """One trial for each run that is still to be made."""
        first: dict[str, Trial] = {}
        for trial in self.pending:
            if trial.run_key not in self.stored_runs:
                first.setdefault(trial.run_key, trial)
        return list(first.values())


def require_effect(resolved: ResolvedStudy, identities: Identities) -> None:
    """Nothing, where each varied name changes the trial: for searches, which list no settings.

    Raises:
        StudyFileError: two values of some domain would be the same trial.
    """
    space = domains(resolved.study, resolved.profile)
    for name, domain in space.items():
        ends = [setting(resolved.study, space, {name: value}) for value in extremes(domain)]
        trials = [resolved.trial(end, resolved.seeds[0], identities) for end in ends]
        _require_distinct(resolved.study, trials)


def planned_trials(resolved: ResolvedStudy, identities: Identities) -> list[Trial]:
    """Every trial of a grid or random study: settings, then seeds.

    Raises:
        StudyFileError: two settings of the study would be the same trial.
    """
    study, identities = resolved.study, AskedOnce(identities)
    trials = [
        trial
        for setting in settings(study, resolved.profile)
        for trial in resolved.replicates(setting, resolved.seeds, identities)
    ]
    if study.search.method == "random":
        # Nobody chose these: two fractions may round to as many examples.
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
    """The plan of `trials`, less what the store has."""
    trials = tuple(trials)
    # Each run once: to say that it is there, the store reads its record.
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
    """A readable name, unique within a study: `label_smoothing=0.1,seed=0`."""
    # repr keeps every digit of a float: two settings never share a name.
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
