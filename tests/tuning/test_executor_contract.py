"""Every executor, this process and Ray Tune, runs the same studies with the same outcomes."""

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
    first, own = outcomes["first"], outcomes["first"]["studies"]["own"]
    assert (own["states"], first["early"]) == (["complete"] * 3, None)
    assert first["told"][0] == "begin"
    steps = [f"step {step}" for step in (4, 8, 12, 16)]
    assert own["of"] == [["started", *steps, "complete"]] * 3
    assert own["reused"] == [False] * 3


def test_decodings_of_one_student_train_it_once(outcomes: Outcomes) -> None:
    decoding = outcomes["first"]["studies"]["decoding"]
    assert decoding["states"] == ["complete"] * 3
    assert sorted(decoding["reused"]) == [False, True, True]


def test_a_search_prunes_and_its_complete_points_are_replicated(outcomes: Outcomes) -> None:
    search = outcomes["first"]["studies"]["search"]
    rows = list(zip(search["seeds"], search["states"], search["settings"], strict=True))
    first = [state for seed, state, _ in rows if seed == 0]
    assert len(first) == 6
    assert set(first) == {"complete", "pruned"}
    complete = [setting for seed, state, setting in rows if (seed, state) == (0, "complete")]
    assert [setting for seed, _, setting in rows if seed == 1] == complete


def test_a_trial_that_diverges_fails_alone(outcomes: Outcomes) -> None:
    diverging = outcomes["first"]["studies"]["diverging"]
    assert diverging["states"] == ["complete", "failed"]
    assert "NonFiniteLossError" in diverging["errors"][1]
    assert diverging["of"][1][-1] == "failed"


def test_only_what_failed_is_run_again(outcomes: Outcomes) -> None:
    first, again = outcomes["first"]["studies"], outcomes["again"]["studies"]
    for name in ("own", "search", "decoding"):
        assert again[name]["of"] == [None] * len(first[name]["states"])
        assert again[name]["states"] == first[name]["states"]
        assert again[name]["metrics"] == first[name]["metrics"]
    [complete, failed] = again["diverging"]["of"]
    assert (complete, failed[0], failed[-1]) == (None, "started", "failed")
