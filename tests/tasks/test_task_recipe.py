"""CONTRIBUTING.md's recipe, "Add a task", followed in a copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.made_tasks import made_task, write_task

ROOT = Path(__file__).resolve().parents[2]
LINE = '    "esnli": _described("esnli"),\n'
CONTRACT = "tests/tasks/test_task_contract.py"


@pytest.mark.slow
def test_a_shipped_task_is_one_file_and_one_line(tmp_path: Path) -> None:
    (recipe,) = (
        part
        for part in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")
        if part.startswith("Add a task")
    )
    assert "`search_spaces/tasks/NAME.yaml`" in recipe
    assert "`tasks/registry.py:TASKS`" in recipe
    assert f"`{CONTRACT}`" in recipe
    for folder in ("tune_distill", "search_spaces", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    polar = made_task(name="polar", labels=["yes", "no"])
    write_task(tmp_path / "search_spaces" / "tasks", polar)
    registry = tmp_path / "tune_distill" / "tasks" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    assert LINE in text
    registry.write_text(text.replace(LINE, LINE + LINE.replace("esnli", "polar")))
    checks = [CONTRACT, "-k", "polar or named", "-q", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *checks],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
    found = subprocess.run(
        [sys.executable, "-c", "from tune_distill.tasks.registry import TASKS; print(*TASKS)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["esnli", "polar", "mini-nli"]
