"""Finds tasks: the shipped ones by name, a user's own by its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import nearest
from tune_distill.spec.shown import shown
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_files import read_model, shipped_task
from tune_distill.tasks.described import DescribedTask
from tune_distill.tasks.mini.corpus import mini_nli
from tune_distill.tasks.task import Task


def _described(name: str) -> Callable[[], Task]:
    return lambda: DescribedTask(shipped_task(name))


def _mini_nli() -> Task:
    asked = shipped_task("esnli")
    return DescribedTask(asked.model_copy(update={"name": "mini-nli"}), mini_nli)


TASKS: Mapping[str, Callable[[], Task]] = {
    "esnli": _described("esnli"),
    "mini-nli": _mini_nli,
}
"""Every shipped task by its name."""


def task_of(source: str) -> Task:
    """Return the task that `task.source` names.

    Raises:
        StudyFileError: there is no such task, or its file has faults; the message lists them all.
    """
    if source in TASKS:
        return TASKS[source]()
    if os.path.isfile(source):
        return DescribedTask(read_model(Path(source), TaskDescription))
    is_path = os.sep in source or source.endswith((".yaml", ".yml"))
    remedy = "; results of a study hold its task as task.yaml" if is_path else None
    raise StudyFileError(
        f"task.source: must be a shipped task or a task file, got {shown(source)}"
        f"{remedy or nearest(source, list(TASKS))}"
    )


@cache
def embedded_corpora() -> Mapping[str, Task]:
    """Return the tasks with a built-in corpus, by the corpus's name in `data.source`."""
    tasks = {name: make() for name, make in TASKS.items()}
    return {name: task for name, task in tasks.items() if task.corpus is not None}
