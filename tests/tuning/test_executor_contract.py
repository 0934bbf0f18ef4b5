"""What every executor makes of the same studies: this process, and Ray Tune."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.tuning.contract import EXECUTORS

Outcomes = dict[str, Any]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=EXECUTORS)
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, "-m", "tests.tuning.contract", request.param, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    outcomes: Outcomes = json.loads(ended.stdout.splitlines()[-1])
    return outcomes


def test_nodes_say_what_trials_may_use(outcomes: Outcomes) -> None:
    [node] = outcomes["nodes"]
    assert node["CPU"] >= 1


def test_each_trial_tells_of_itself_and_ends_as_a_record(outcomes: Outcomes) -> None:
    ran = outcomes["smoothing"]
    assert (ran["states"], ran["early"]) == (["complete"] * 3, None)
    assert ran["told"][0] == "begin"
    steps = [f"step {step}" for step in (4, 8, 12, 16)]
    assert ran["of"] == [["started", *steps, "complete"]] * 3
    assert ran["reused"] == [False] * 3


def test_what_is_stored_is_not_run_again(outcomes: Outcomes) -> None:
    again = outcomes["smoothing again"]
    assert (again["told"], again["states"]) == ([], ["complete"] * 3)
    assert again["metrics"] == outcomes["smoothing"]["metrics"]


def test_decodings_of_one_student_train_it_once(outcomes: Outcomes) -> None:
    ran = outcomes["decoding"]
    assert ran["states"] == ["complete"] * 3
    assert sorted(ran["reused"]) == [False, True, True]


def test_a_search_prunes_and_its_complete_points_are_replicated(outcomes: Outcomes) -> None:
    ran = outcomes["search"]
    rows = list(zip(ran["seeds"], ran["states"], ran["settings"], strict=True))
    first = [state for seed, state, _ in rows if seed == 0]
    assert len(first) == 6
    assert set(first) == {"complete", "pruned"}
    complete = [setting for seed, state, setting in rows if (seed, state) == (0, "complete")]
    assert [setting for seed, _, setting in rows if seed == 1] == complete
    again = outcomes["search again"]
    assert (again["told"], again["states"]) == ([], ran["states"])


def test_a_trial_that_diverges_fails_alone(outcomes: Outcomes) -> None:
    ran = outcomes["diverging"]
    assert (ran["states"], ran["early"]) == (["complete", "failed"], None)
    assert "NonFiniteLossError" in ran["errors"][1]
    assert ran["of"][1][-1] == "failed"


def test_a_closed_executor_runs_more(outcomes: Outcomes) -> None:
    ran = outcomes["after closing"]
    assert ran["states"] == ["complete"] * 3
    assert ran["metrics"] == outcomes["smoothing"]["metrics"]
