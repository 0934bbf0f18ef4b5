"""What every executor makes of the same studies: this process, and Ray Tune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.records.made import study_of
from tests.tuning.executed import FIELDS, SEARCH, SMOOTHING, Ran
from tune_distill.driver import Executor
from tune_distill.planning.resources import ResourceRequest
from tune_distill.tuning.inline_executor import InlineExecutor
from tune_distill.tuning.ray_executor import RayExecutor


@pytest.fixture(scope="module", params=["inline", pytest.param("ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    found = InlineExecutor() if request.param == "inline" else RayExecutor(ResourceRequest())
    yield found
    found.close()


def test_nodes_say_what_a_trial_may_use(executor: Executor) -> None:
    [node] = executor.nodes()
    assert node["CPU"] >= 1


def test_each_trial_tells_of_itself_and_ends_as_a_record(
    executor: Executor, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, SMOOTHING, executor=executor)
    assert (ran.states, ran.early) == (["complete"] * 3, False)
    assert ran.events.told[0] == "begin"
    steps = [f"step {step}" for step in (4, 8, 12, 16)]
    assert list(ran.events.of.values()) == [["started", *steps, "complete"]] * 3
    assert not any(record.reused for record in ran.records)
    losses = [row.eval_loss for record in ran.records for row in record.history if row.eval_loss]
    assert len(losses) == 12
    again = ran.again()
    assert (again.events.told, again.states) == ([], ["complete"] * 3)


def test_decodings_of_one_student_train_it_once(executor: Executor, tmp_path: Path) -> None:
    study = study_of({"decode.strategy": ["greedy", "beam", "sample"]})
    ran = Ran(tmp_path, study, executor=executor)
    assert ran.states == ["complete"] * 3
    assert sorted(record.reused for record in ran.records) == [False, True, True]


def test_a_search_prunes_and_its_complete_points_are_replicated(
    executor: Executor, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, SEARCH, num_seeds=2, executor=executor)
    first = [record for record in ran.records if record.trial.seed == 0]
    second = [record for record in ran.records if record.trial.seed == 1]
    complete = [record for record in first if record.state == "complete"]
    assert len(first) == 6
    assert 0 < len(complete) < 6
    assert {record.state for record in first} == {"complete", "pruned"}
    settings = [record.trial.setting for record in complete]
    assert [record.trial.setting for record in second] == settings
    assert (ran.again().events.told, ran.again().states) == ([], ran.states)


def test_a_trial_that_diverges_fails_alone(executor: Executor, tmp_path: Path) -> None:
    study = study_of({"train.learning_rate": [1e-3, 1e30]})
    ran = Ran(tmp_path, study, executor=executor, fields=FIELDS | {"train.max_grad_norm": 1e30})
    assert (ran.states, ran.early) == (["complete", "failed"], False)
    assert "NonFiniteLossError" in str(ran.records[1].error)
    assert [*ran.events.of.values()][1][-1] == "failed"


def test_a_closed_executor_runs_more(executor: Executor, tmp_path: Path) -> None:
    first = Ran(tmp_path / "first", SMOOTHING, executor=executor)
    executor.close()
    executor.close()
    second = Ran(tmp_path / "second", SMOOTHING, executor=executor)
    assert second.states == first.states == ["complete"] * 3
    for ours, theirs in zip(second.records, first.records, strict=True):
        assert ours.evaluation is not None
        assert theirs.evaluation is not None
        assert ours.evaluation.metrics == theirs.evaluation.metrics
