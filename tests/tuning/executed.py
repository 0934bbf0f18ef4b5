"""Small studies that an executor runs, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.records.made import study_of
from tune_distill.driver import Course, Executor, Session, conduct
from tune_distill.planning.events import Report
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import ResolvedStudy, Trial
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import load_profile
from tune_distill.tuning.inline_executor import InlineExecutor

FIELDS = {
    "data.num_train": 64,
    "data.num_validation": 8,
    "train.num_epochs": 2,
    "train.batch_size": 8,
    "train.eval_steps": 4,
    "decode.max_new_tokens": 4,
}
SMOOTHING = study_of({"train.label_smoothing": [0.0, 0.1, 0.2]})
SEARCH = study_of(
    {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-1}},
    search={"method": "optuna", "num_samples": 6},
    scheduler={"type": "asha", "grace_fraction": 0.25, "reduction_factor": 2},
    metric={"name": "eval_loss", "mode": "min"},
)


def no_report(folder: Path) -> Any:
    raise AssertionError("nothing is judged here")


class Events:
    """A display that keeps what it is told, as names: of all trials, and of each."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.of: dict[tuple[str, str], list[str]] = {}

    def _tell(self, trial: Trial, what: str) -> None:
        self.told.append(what)
        self.of.setdefault((trial.study, trial.trial_id), []).append(what)

    def begin(self, plans: Any, num_workers: int) -> None:
        self.told.append("begin")

    def started(self, trial: Trial) -> None:
        self._tell(trial, "started")

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        self._tell(trial, "retried")

    def progressed(self, trial: Trial, report: Report) -> None:
        self._tell(trial, f"step {report.step}")

    def ended(self, record: TrialRecord) -> None:
        self._tell(record.trial, record.state)

    def close(self) -> None:
        pass


def resolved(study: Study, num_seeds: int = 1, fields: Mapping[str, Any] = FIELDS) -> ResolvedStudy:
    """Return the study under a small profile."""
    profile = study_profile(study, "mini", load_profile("mini"), fields)
    return ResolvedStudy(study, "tiny", profile, tuple(range(num_seeds)))


class Ran:
    """Studies that an executor ran together, with their store in `folder`."""

    def __init__(self, folder: Path, *studies: ResolvedStudy, executor: Executor) -> None:
        self.given = folder, studies, executor
        self.events = Events()
        self.store = Store(Folder(folder))
        self.of: dict[str, list[TrialRecord]] = {}
        session = Session(studies, folder, self.store, executor, self.events, no_report)
        self.early = conduct(session, self._keep)

    def _keep(self, course: Course) -> None:
        self.of[course.resolved.study.name] = course.records()

    def again(self) -> Ran:
        """The same once more."""
        folder, studies, executor = self.given
        return Ran(folder, *studies, executor=executor)

    @property
    def records(self) -> list[TrialRecord]:
        return [record for records in self.of.values() for record in records]

    @property
    def states(self) -> list[str]:
        return [record.state for record in self.records]


def ran_inline(folder: Path, study: Study) -> Ran:
    """Run one study in this process."""
    return Ran(folder, resolved(study), executor=InlineExecutor())
