"""A student that cannot be one ends the command at once, with one line; --dry-run says so too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tune_distill
from tests.distill.student_forms import byt5, edit_json, edit_weights, sharded_twice
from tune_distill.study import main

SMALL = ["data.num_train=40", "data.num_validation=20", "train.num_epochs=1"]
SMALL += ["decode.max_new_tokens=24"]
OPTIONS = [word for field in SMALL for word in ("--set", field)]


@pytest.fixture
def student(tiny_student: Path, tmp_path: Path) -> Path:
    """A copy of a student that a test may change."""
    return shutil.copytree(tiny_student, tmp_path / "student")


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_damaged_student_is_one_line_before_ray_starts(
    student: Path,
    tmp_path: Path,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("tune_distill.command.Command.join_ray", start)
    edit_weights(student, lambda tensors: tensors["shared.weight"][5].fill_(float("nan")))
    arguments = ["smoothing", *OPTIONS, "--student", str(student), *options]
    assert main([*arguments, "--results", str(tmp_path / "results")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: student.source: {student} must hold finite weights, got NaN")


@pytest.mark.slow
def test_students_of_other_forms_are_trained_and_answer(student: Path, tmp_path: Path) -> None:
    """A byte tokenizer, a start token that is told nowhere, and shards of an earlier save."""
    byt5(student)
    sharded_twice(student)
    for name in ("config.json", "generation_config.json"):
        edit_json(student / name, decoder_start_token_id=...)
    study = tmp_path / "one.yaml"
    study.write_text("name: one\nquestion: Does it end?\nvary: {decode.strategy: [greedy]}\n")
    results = str(tmp_path / "results")
    arguments = [str(study), *OPTIONS, "--student", str(student), "--results", results]
    assert main([*arguments, "--seeds", "1", "--quiet"]) == 0
    rows = tune_distill.load("one", results=results)
    assert list(rows.state) == ["complete"]
    assert len(tune_distill.load("one", results=results, table="predictions")) == 20
