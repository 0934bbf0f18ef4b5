"""CONTRIBUTING.md's recipe, "Add a task", followed in a copy of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import python, recipe, register, repository_copy, run_tests
from tests.tasks.made_tasks import made_task, write_task

LINE = '    "esnli": _described("esnli"),\n'
CONTRACT = "tests/tasks/test_task_contract.py"


@pytest.mark.proof
def test_a_shipped_task_is_one_file_and_one_line(tmp_path: Path) -> None:
    for named in ("search_spaces/tasks/NAME.yaml", "tasks/registry.py:TASKS", CONTRACT):
        assert f"`{named}`" in recipe("Add a task")
    package = repository_copy(tmp_path)
    polar = made_task(name="polar", labels=["yes", "no"])
    write_task(tmp_path / "search_spaces" / "tasks", polar)
    register(package / "tasks" / "registry.py", LINE, LINE.replace("esnli", "polar"))
    run_tests(tmp_path, CONTRACT, which="polar or named")
    printed = "from tune_distill.tasks.registry import TASKS; print(*TASKS)"
    assert python(tmp_path, "-c", printed).split() == ["esnli", "polar", "mini-nli"]
