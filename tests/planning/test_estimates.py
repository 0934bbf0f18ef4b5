"""Estimates of training time from a student's stored runs, or from its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.nli import NLI
from tests.records.made import LocalStore, history
from tests.tiny import trial_of
from tune_distill.planning.estimates import measured_examples_per_s, training_estimate_s
from tune_distill.records.examples import Example
from tune_distill.records.runs import RunRecord
from tune_distill.records.store import Store
from tune_distill.spec.keys import key_of
from tune_distill.spec.plan import Trial
from tune_distill.spec.profile import Profile
from tune_distill.training.inputs import Inputs

MINI = {"builtin": "mini", "version": "1"}


def mini_trial(student: str = "mini", num_train: int = 300, num_epochs: int = 2) -> Trial:
    profile = Profile.model_validate(
        {
            "student": {"source": student},
            "data": {"source": "mini-nli", "num_train": num_train, "num_validation": 10},
            "train": {"num_epochs": num_epochs},
        }
    )
    return trial_of(profile, Inputs())


def add_run(store: Store, student: Mapping[str, Any], seed: int, examples_per_s: float) -> None:
    identity = {"student": student, "seed": seed}
    numbers = (300, 10, 1.0, 1.0, "v", 1.0, examples_per_s, 0.0, 0.0)
    record = RunRecord(*numbers, "cpu", "AVX2", "fp32", history(1.0))
    store.finish_run(key_of(identity), identity, record, lambda path: (path / "model").touch())


def test_the_speed_is_the_median_of_the_student_s_finished_runs(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert measured_examples_per_s(MINI, store) is None
    for seed, speed in enumerate((50.0, 1000.0, 100.0)):
        add_run(store, MINI, seed, speed)
    add_run(store, {"files_digest": "other"}, 0, 1.0)
    unfinished = {"student": MINI, "seed": 3}
    store.begin_run(key_of(unfinished), unfinished)
    assert measured_examples_per_s(MINI, store) == 100.0
    assert measured_examples_per_s({"files_digest": "unknown"}, store) is None


def test_measured_speed_gives_the_time(tmp_path: Path, examples: list[Example]) -> None:
    store = LocalStore(tmp_path)
    trials = [mini_trial(), mini_trial(num_epochs=3)]
    add_run(store, trials[0].run_identity["student"], 0, 50.0)
    # 300 examples at 50 per second take 6 seconds per epoch.
    assert training_estimate_s(trials, store, examples, NLI) == pytest.approx(2 * 6 + 3 * 6)
    assert training_estimate_s([], store, examples, NLI) == 0


def test_without_a_run_the_estimate_grows_with_student_and_work(
    tmp_path: Path, tiny_t5: Path, examples: list[Example]
) -> None:
    store = LocalStore(tmp_path)

    def estimate(**changes: Any) -> float:
        return training_estimate_s([mini_trial(**changes)], store, examples, NLI)

    mini = estimate()
    # It takes about 3 seconds on one core.
    assert 0.3 < mini < 30
    assert estimate(num_epochs=4) == pytest.approx(2 * mini)
    assert estimate(num_train=600) == pytest.approx(2 * mini, rel=0.05)
    assert 0 < estimate(student=str(tiny_t5)) < mini
