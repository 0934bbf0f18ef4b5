"""The inline executor: trials in this process, exceptions, Ctrl-C and the state of torch."""

from __future__ import annotations

import os
from typing import Any

import torch

from tests.tuning.executed import SEARCH, SMOOTHING, Events, ran_inline
from tune_distill.planning.events import Report
from tune_distill.records.trials import INTERRUPTED
from tune_distill.spec.errors import StoreError
from tune_distill.spec.plan import Trial
from tune_distill.training import trial as trial_module


def test_trials_run_one_after_the_other_in_this_process(tmp_path, monkeypatch):
    pids = []
    monkeypatch.setattr(Events, "progressed", lambda self, trial, report: pids.append(report.pid))
    ran = ran_inline(tmp_path, SMOOTHING)
    assert ran.events.told == ["begin", *["started", "complete"] * 3]
    assert set(pids) == {os.getpid()}


def test_an_exception_fails_only_its_trial(tmp_path, monkeypatch):
    evaluate = trial_module._evaluate

    def failing(trial: Trial, *others: Any) -> Any:
        if trial.setting.values["label_smoothing"] == 0.1:
            raise ArithmeticError("no\nnumber")
        return evaluate(trial, *others)

    monkeypatch.setattr(trial_module, "_evaluate", failing)
    ran = ran_inline(tmp_path, SMOOTHING)
    assert ran.states == ["complete", "failed", "complete"]
    assert ran.records[1].error == "ArithmeticError: no number"
    assert not ran.early


def test_a_study_resumes_from_a_checkpoint_after_ctrl_c(tmp_path, monkeypatch):
    def interrupting(self: Any, trial: Trial, report: Report) -> None:
        if trial.setting.values["label_smoothing"] == 0.1 and report.step == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Events, "progressed", interrupting)
        ran = ran_inline(tmp_path / "disturbed", SMOOTHING)
    assert (ran.states, ran.early) == (["complete", "failed", "failed"], "interrupted")
    assert {record.error for record in ran.records[1:]} == {INTERRUPTED}
    assert [row.step for row in ran.records[1].history] == [4, 8]
    resumed, undisturbed = (
        ran_inline(tmp_path / "disturbed", SMOOTHING),
        ran_inline(tmp_path, SMOOTHING),
    )
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
    ran = ran_inline(tmp_path, SEARCH)
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
    ran = ran_inline(tmp_path, SEARCH)
    assert (ran.early, ran.states) == ("failed", ["complete"])


def test_torchs_state_is_restored(tmp_path):
    torch.set_num_threads(2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    environment = dict(os.environ)
    ran_inline(tmp_path, SMOOTHING)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()
    assert dict(os.environ) == environment
