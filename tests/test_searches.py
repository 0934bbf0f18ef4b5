"""Optuna searches with the study command: few points, a damaged journal, two commands at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import tune_distill
from tests.guest import INLINE
from tests.study_process import StudyProcess, run
from tune_distill.study import main

SMALL_SPACE = """
name: small
question: Two points, five samples
vary: {train.batch_size: [8, 16]}
search: {method: optuna, num_samples: 5}
metric: {name: eval_loss, mode: min}
"""
PRUNING = """
name: pruning
question: Which rate?
vary: {train.learning_rate: {type: loguniform, low: 1e-6, high: 1e-2}}
search: {method: optuna, num_samples: 6}
scheduler: {type: asha, grace_fraction: 0.3, reduction_factor: 2}
metric: {name: eval_loss, mode: min}
"""
EXHAUSTED = (
    "small: the search space is exhausted: it has 2 points, fewer than the 5 samples asked for; "
    "each is tried once"
)


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    study = tmp_path / "small.yaml"
    study.write_text(SMALL_SPACE)
    return [str(study), *INLINE, "--results", str(tmp_path / "results")]


def test_a_plan_says_that_a_small_space_will_be_exhausted(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*small, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  {EXHAUSTED}" in lines
    assert lines[-1] == "2 trials, 2 trainings, 0 hits"
    assert not (tmp_path / "results").exists()


def test_each_point_of_a_small_space_is_tried_once(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(small) == 0
    first = capsys.readouterr().out
    assert first.splitlines().count(EXHAUSTED) == 1
    assert "2 trials to run" in first
    assert "2 trials: 2 complete, 0 pruned, 0 failed; 2 trainings" in first
    assert "retried" not in first
    # Then the same points with another seed.
    assert main([*small, "--seeds", "2"]) == 0
    second = capsys.readouterr().out
    assert "4 trials: 4 complete, 0 pruned, 0 failed; 2 trainings" in second
    frame = tune_distill.load("small", results=tmp_path / "results")
    pairs = zip(frame["batch_size"], frame["seed"], strict=True)
    assert list(pairs) == [(8, 0), (8, 1), (16, 0), (16, 1)]


@pytest.mark.slow
def test_two_commands_share_a_search_and_its_journal_can_be_lost(tmp_path: Path) -> None:
    study = tmp_path / "pruning.yaml"
    study.write_text(PRUNING)
    command = [str(study), *INLINE, "--seeds", "2", "--store", str(tmp_path / "store")]
    with (
        StudyProcess(tmp_path, *command, "--results", str(tmp_path / "first")) as first,
        StudyProcess(tmp_path, *command, "--results", str(tmp_path / "second")) as second,
    ):
        assert first.wait() == 0, first.report()
        assert second.wait() == 0, second.report()
    tables = [tune_distill.load("pruning", results=tmp_path / name) for name in ("first", "second")]
    told = [frame[["trial_id", "state", "run_key"]].values.tolist() for frame in tables]
    assert told[0] == told[1]
    assert tables[0]["learning_rate"].nunique() == 6

    [journal] = (tmp_path / "store" / "searches").glob("*/optuna.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 3]))
    third = run(*command, "--results", str(tmp_path / "first"))
    assert third.returncode == 0, third.stderr
    assert third.stderr.count("\n") == 1
    assert "set aside as optuna.journal.damaged-1, and made again from the store" in third.stderr
    assert "0 trainings" in third.stdout
    again = tune_distill.load("pruning", results=tmp_path / "first")
    assert again[["trial_id", "state", "run_key"]].values.tolist() == told[0]
    fourth = run(*command, "--results", str(tmp_path / "first"))
    assert (fourth.returncode, fourth.stderr) == (0, "")
