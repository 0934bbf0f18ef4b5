"""Reads a study's results folder: the study, its trials, and the scores of each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tune_distill.analysis.scores import Scores, read_scores
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.tables import load
from tune_distill.records.schemas import HISTORY, TRIALS_AFTER_SETTING, TRIALS_BEFORE_SETTING
from tune_distill.records.tables import TASK_FILE
from tune_distill.records.trials import TrialState
from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StoreError, StudyFileError
from tune_distill.spec.faults import describe
from tune_distill.spec.metrics import metric_versions
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import baseline
from tune_distill.spec.study import Study
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_files import load_study, read_model, shipped_task

_LATER_COLUMNS = ("num_retries", "device", "instruction_set", "precision")
"""Columns of trials that earlier versions did not write, beside those of metrics added since."""

SettingValues = dict[str, Scalar]
"""A setting as tables show it: each varied column and its value."""


@dataclass(frozen=True)
class StudyResults:
    """The results of one study.

    `trials` is its table, one row per trial; `settings` are its settings in the table's order, and
    `trials["setting"]` says which of them a trial has. `baseline` is the position of the one that
    the others are compared with, None if no trial is complete; `baseline_note` says so if it is not
    the one that the study means.
    """

    folder: Path
    study: Study
    profile: Profile
    trials: pd.DataFrame
    settings: list[SettingValues]
    baseline: int | None
    baseline_note: str

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def columns(self) -> list[str]:
        """The varied columns."""
        return list(self.study.columns.values())

    @cached_property
    def task(self) -> TaskDescription:
        """The task. Earlier versions wrote no task file, because e-SNLI was the only task."""
        path = self.folder / TASK_FILE
        return read_model(path, TaskDescription) if path.is_file() else shipped_task("esnli")

    @cached_property
    def complete(self) -> pd.DataFrame:
        """The complete trials, numbered as `scores` numbers them."""
        return self.trials[self.trials["state"] == "complete"].reset_index(drop=True)

    @cached_property
    def scores(self) -> Scores:
        """The scores of the complete trials' answers."""
        path = self.folder / "predictions.parquet"
        return read_scores(path, list(self.complete["trial_id"]), self.task.labels or ())

    @cached_property
    def history(self) -> pd.DataFrame:
        """The history table, with the setting and seed of each row."""
        history = load(self.folder.name, results=self.folder.parent, table="history")
        _require_columns(self.folder, "history", history, [column.name for column in HISTORY])
        named = self.trials[["trial_id", "setting", "seed", "state"]]
        return history.merge(named, on="trial_id", how="inner")

    @cached_property
    def _rows(self) -> dict[int, dict[int, int]]:
        rows: dict[int, dict[int, int]] = {}
        pairs = zip(self.complete["setting"].tolist(), self.complete["seed"].tolist(), strict=True)
        for row, (setting, seed) in enumerate(pairs):
            rows.setdefault(setting, {})[seed] = row
        return rows

    def trials_of(self, setting: int) -> Mapping[int, int]:
        """Return each seed of a setting's complete trials -> the trial's row in `scores`."""
        return self._rows.get(setting, {})

    @cached_property
    def run_keys(self) -> list[str]:
        """The run key of each complete trial, numbered as `scores` numbers them."""
        keys: list[str] = self.complete["run_key"].tolist()
        return keys

    def measured(self) -> list[int]:
        """Return the settings with a complete trial."""
        return sorted({int(setting) for setting in self.complete["setting"]})

    def text(self, setting: int) -> str:
        """Return the setting as a reader writes it."""
        return setting_name(self.settings[setting])


def read_results(folder: Path) -> StudyResults:
    """Return the results of the study in `folder`, which may be a copy.

    Raises:
        StoreError: a table or study.yaml is missing or not one of ours.
    """
    path = folder / "study.yaml"
    if not path.is_file():
        raise StoreError(
            f"{folder}: must hold study.yaml beside its tables, got none; copy the whole folder, "
            "or run the study again"
        )
    study = load_study(str(path))
    profile = _profile(study, path)
    trials = load(folder.name, results=folder.parent)
    columns = list(study.columns.values())
    written = [column.name for column in (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING)]
    later = {*_LATER_COLUMNS, *metric_versions()}
    required = [name for name in written if name not in later]
    _require_columns(folder, "trials", trials, [*columns, *required])
    _require_states(folder, trials)
    settings, numbers = _settings(trials, columns)
    trials = trials.assign(setting=numbers)
    chosen, note = _baseline(study, profile, trials, settings)
    return StudyResults(folder, study, profile, trials, settings, chosen, note)


def _require_columns(folder: Path, table: str, frame: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise StoreError(
            f"{folder}: {table}.parquet must be as study.yaml and results/README.md say, got no "
            f"column {', '.join(missing)}; copy the whole folder, or run the study again"
        )


def _require_states(folder: Path, trials: pd.DataFrame) -> None:
    others = sorted(set(trials["state"]) - set(get_args(TrialState)))
    if others:
        raise StoreError(
            f"{folder}: trials.parquet: state must be one of {', '.join(get_args(TrialState))}, "
            f"got {others[0]!r}; copy the whole folder, or run the study again"
        )


def setting_name(values: SettingValues) -> str:
    """Return `0.1`; with several parameters `max source length 32, max target length 16`."""
    if len(values) == 1:
        return setting_text(next(iter(values.values())))
    return setting_phrase(values)


def short_name(values: SettingValues) -> str:
    """Return `0.1`; with several parameters `128, 64`, for use beside a heading that names them."""
    return ", ".join(setting_text(value) for value in values.values())


def setting_phrase(values: SettingValues) -> str:
    """Return the setting with its parameters, for use in a sentence: `label smoothing 0.1`."""
    return ", ".join(
        f"{in_words(column)} {setting_text(value)}" for column, value in values.items()
    )


def in_words(column: str) -> str:
    """Return a column's name in words."""
    return column.replace("_", " ")


def _profile(study: Study, path: Path) -> Profile:
    """Return the profile that a resolved study contains in full."""
    raw: dict[str, dict[str, Scalar]] = {}
    for field, value in study.overrides.items():
        section, name = field.split(".")
        raw.setdefault(section, {})[name] = value
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        faults = "\n".join(describe(error, Profile, f"{path}: overrides"))
        raise StudyFileError(faults) from error


def _settings(
    trials: pd.DataFrame, columns: Sequence[str]
) -> tuple[list[SettingValues], list[int]]:
    """Return the settings in order, and each trial's number among them."""
    known: dict[tuple[Scalar, ...], int] = {}
    rows = trials[list(columns)].itertuples(index=False)
    points = [tuple(_scalar(value) for value in row) for row in rows]
    numbers = [known.setdefault(point, len(known)) for point in points]
    return [dict(zip(columns, values, strict=True)) for values in known], numbers


def _scalar(value: Any) -> Scalar:
    """Return a cell as in the study file: null for NaN, and Python's numbers for numpy's."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    plain: Scalar = value.item() if isinstance(value, np.generic) else value
    return plain


def _baseline(
    study: Study, profile: Profile, trials: pd.DataFrame, settings: list[SettingValues]
) -> tuple[int | None, str]:
    """Return the setting that others are compared with, and a note on the choice for readers."""
    measured = sorted(set(trials.loc[trials["state"] == "complete", "setting"]))
    if not measured:
        return None, ""
    meant = baseline(study, profile)
    if meant is not None and meant.values in settings:
        number = settings.index(meant.values)
        if number in measured:
            return number, ""
    stand_in = _nearest(meant.values if meant else {}, settings, measured)
    name = setting_name(settings[stand_in])
    if meant is None:
        return stand_in, f"The profile's own setting is not in the study; {name} stands in for it."
    tried = "has no complete trial" if meant.values in settings else "was not tried"
    return stand_in, f"The baseline {setting_name(meant.values)} {tried}; {name} stands in for it."


def _nearest(meant: SettingValues, settings: list[SettingValues], measured: Sequence[int]) -> int:
    """Return the measured setting nearest to the one meant, the first if nearness means nothing."""
    if len(meant) != 1:
        return measured[0]
    [(column, value)] = meant.items()
    numbers = {index: settings[index][column] for index in measured}
    if not isinstance(value, int | float) or value <= 0:
        return measured[0]
    positive = {i: n for i, n in numbers.items() if isinstance(n, int | float) and n > 0}
    if not positive:
        return measured[0]
    return min(positive, key=lambda index: abs(np.log(positive[index] / value)))
