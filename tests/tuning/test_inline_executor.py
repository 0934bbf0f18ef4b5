"""The inline executor: trials in this process give the same records as on Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tune_distill
from tests.records.made import study_of
from tune_distill.driver import Session, conduct
from tune_distill.planning.events import Report
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord
from tune_distill.spec.errors import StoreError
from tune_distill.spec.plan import ResolvedStudy, Trial
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import load_profile
from tune_distill.training import trial as trial_module
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
    """A display that keeps the names of its events."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, plans: Any, num_workers: int) -> None:
        self.told.append("begin")

    def started(self, trial: Trial) -> None:
        self.told.append("started")

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        self.told.append("retried")

    def progressed(self, trial: Trial, report: Report) -> None:
        assert report.pid == os.getpid()
        self.told.append(f"step {report.step}")

    def ended(self, record: TrialRecord) -> None:
        self.told.append(record.state)

    def close(self) -> None:
        pass


def resolved(study: Study, num_seeds: int = 1) -> ResolvedStudy:
    profile = study_profile(study, "mini", load_profile("mini"), FIELDS)
    return ResolvedStudy(study, "tiny", profile, tuple(range(num_seeds)))


class Ran:
    """A study that was run in this process."""

    def __init__(self, folder: Path, study: Study, num_seeds: int = 1) -> None:
        self.given = folder, study, num_seeds
        self.events = Events()
        self.store = Store(Folder(folder))
        self.records: list[TrialRecord] = []
        studies = [resolved(study, num_seeds)]
        session = Session(studies, folder, self.store, InlineExecutor(), self.events, no_report)
        self.early = conduct(session, lambda course: self.records.extend(course.records()))

    def again(self) -> Ran:
        """Run the same study once more."""
        return Ran(*self.given)

    @property
    def states(self) -> list[str]:
        return [record.state for record in self.records]


def test_trials_run_one_after_the_other_and_report_events(tmp_path):
    ran = Ran(tmp_path, SMOOTHING)
    assert (ran.states, ran.early) == (["complete"] * 3, None)
    steps = [f"step {step}" for step in (4, 8, 12, 16)]
    assert ran.events.told == ["begin", *["started", *steps, "complete"] * 3]
    assert not any(record.reused for record in ran.records)
    again = ran.again()
    assert (again.events.told, again.states) == ([], ["complete"] * 3)


def test_decodings_of_one_student_train_it_once(tmp_path):
    ran = Ran(tmp_path, study_of({"decode.strategy": ["greedy", "beam"]}))
    assert [record.reused for record in ran.records] == [False, True]


def test_a_search_prunes_and_its_complete_points_are_replicated(tmp_path):
    ran = Ran(tmp_path, SEARCH, num_seeds=2)
    first = [record for record in ran.records if record.trial.seed == 0]
    second = [record for record in ran.records if record.trial.seed == 1]
    complete = [record for record in first if record.state == "complete"]
    assert len(first) == 6
    assert 0 < len(complete) < 6
    assert {record.state for record in first} == {"complete", "pruned"}
    settings = [record.trial.setting for record in complete]
    assert [record.trial.setting for record in second] == settings
    assert (ran.again().events.told, ran.again().states) == ([], ran.states)


def test_an_exception_fails_only_its_trial(tmp_path, monkeypatch):
    evaluate = trial_module._evaluate

    def failing(trial: Trial, *others: Any) -> Any:
        if trial.setting.values["label_smoothing"] == 0.1:
            raise ArithmeticError("no\nnumber")
        return evaluate(trial, *others)

    monkeypatch.setattr(trial_module, "_evaluate", failing)
    ran = Ran(tmp_path, SMOOTHING)
    assert ran.states == ["complete", "failed", "complete"]
    assert ran.records[1].error == "ArithmeticError: no number"
    assert not ran.early


def test_a_study_resumes_from_a_checkpoint_after_ctrl_c(tmp_path, monkeypatch):
    def interrupting(self: Any, trial: Trial, report: Report) -> None:
        if trial.setting.values["label_smoothing"] == 0.1 and report.step == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Events, "progressed", interrupting)
        ran = Ran(tmp_path / "disturbed", SMOOTHING)
    assert (ran.states, ran.early) == (["complete", "failed", "failed"], "interrupted")
    assert {record.error for record in ran.records[1:]} == {INTERRUPTED}
    assert [row.step for row in ran.records[1].history] == [4, 8]
    resumed, undisturbed = Ran(tmp_path / "disturbed", SMOOTHING), Ran(tmp_path, SMOOTHING)
    assert resumed.events.told[1:4] == ["started", "step 8", "step 12"]
    for ours, theirs in zip(resumed.records, undisturbed.records, strict=True):
        assert ours.evaluation is not None
        assert theirs.evaluation is not None
        assert ours.evaluation.metrics == theirs.evaluation.metrics


def test_a_store_that_refuses_the_journal_ends_the_search(tmp_path, monkeypatch):
    from tune_distill.planning.optuna_queue import OptunaQueue

    def refuse(self: Any, trial: Trial, step: int, eval_loss: float | None) -> None:
        raise StoreError("journal: must be writable, got No space left on device")

    monkeypatch.setattr(OptunaQueue, "reported", refuse)
    ran = Ran(tmp_path, SEARCH)
    assert ran.early == "failed"
    assert {record.error for record in ran.records} == {
        "the driver could not go on: StoreError: journal: must be writable, "
        "got No space left on device"
    }


def test_a_trial_that_was_stored_when_the_driver_ended_is_complete(tmp_path, monkeypatch):
    from tune_distill.planning.optuna_queue import OptunaQueue

    def refuse(self: Any, trial: Trial, state: str, value: float | None) -> None:
        raise StoreError("journal: must be writable, got No space left on device")

    monkeypatch.setattr(OptunaQueue, "ended", refuse)
    ran = Ran(tmp_path, SEARCH)
    assert (ran.early, ran.states) == ("failed", ["complete"])


def test_torchs_state_is_restored(tmp_path):
    torch.set_num_threads(2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    environment = dict(os.environ)
    Ran(tmp_path, SMOOTHING)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert dict(os.environ) == environment


@pytest.mark.slow
def test_the_command_gives_the_table_that_ray_gives_and_imports_no_ray(tmp_path):
    tables = {}
    sets = [f"--set={name}={value}" for name, value in FIELDS.items()]
    for executor in ("inline", "ray"):
        program = (
            "import sys; from tune_distill.study import main; code = main(); "
            f"assert ('ray' in sys.modules) == ({executor!r} == 'ray'); sys.exit(code)"
        )
        arguments = ["smoothing", "--results", str(tmp_path / executor), "--quiet", *sets]
        subprocess.run(
            [sys.executable, "-c", program, *arguments, "--executor", executor],
            check=True,
            timeout=300,
        )
        frame = tune_distill.load("smoothing", results=tmp_path / executor)
        timed = [name for name in frame.columns if name.endswith("_s")]
        tables[executor] = frame.drop(columns=timed)
    assert tables["inline"].equals(tables["ray"])
