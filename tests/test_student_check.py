"""An invalid student ends the command at once with one line, also with --dry-run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.students.student_forms import edit_weights
from tune_distill.study import main

SMALL = ["data.num_train=40", "data.num_validation=20", "train.num_epochs=1"]
SMALL += ["decode.max_new_tokens=24"]
OPTIONS = [word for field in SMALL for word in ("--set", field)]


@pytest.fixture
def student(tiny_student: Path, tmp_path: Path) -> Path:
    """Return a copy of a student, which a test may damage."""
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

    monkeypatch.setattr("tune_distill.tuning.ray_executor.RayExecutor.nodes", start)
    edit_weights(student, lambda tensors: tensors["shared.weight"][5].fill_(float("nan")))
    arguments = ["smoothing", *OPTIONS, "--student", str(student), *options]
    assert main([*arguments, "--results", str(tmp_path / "results")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: student.source: {student} must hold finite weights, got NaN")
