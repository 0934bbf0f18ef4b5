"""A task of the user's own, from its file to its report: labels, choices, or free answers."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tune_distill
from tests.tasks.made_tasks import (
    CHOICES,
    FREE,
    TWO_LABELS,
    examples_of,
    made_task,
    write_rows,
    write_task,
)
from tune_distill.analysis.tables import load
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.yaml_files import load_study
from tune_distill.study import main
from tune_distill.tasks.task import Task

STUDY = """\
name: own
question: Does it run?
vary: {train.label_smoothing: [0.0, 0.1]}
metric: {name: METRIC, mode: max}
"""


def run(folder: Path, task: Task, metric: str = "label_accuracy", **fields: Any) -> pd.DataFrame:
    """Return the trials of a study of the task, on 24 of its examples."""
    examples = [
        replace(example, inputs=(f"{example.inputs[0]} of {batch}",))
        for batch in range(4)
        for example in examples_of(task)
    ]
    study = folder / "own.yaml"
    study.write_text(STUDY.replace("METRIC", metric))
    chosen = {
        "task.source": write_task(folder, task),
        "data.source": write_rows(folder, task, examples),
        "data.num_train": 24,
        "data.num_validation": 12,
        "train.num_epochs": 1,
        "decode.max_new_tokens": 8,
    }
    found = tune_distill.run(study, set=chosen | fields, results=folder, executor="inline")
    return found["own"].trials


@pytest.mark.parametrize("task", [TWO_LABELS, CHOICES, FREE], ids=["labels", "choices", "free"])
def test_a_task_of_ones_own_is_one_file(
    tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = run(tmp_path, task)
    assert list(trials["state"]) == ["complete"] * 2
    assert trials["label_accuracy"].between(0, 1).all()
    assert trials["faithfulness"].isna().all() == (task is not TWO_LABELS)
    answers = load("own", results=tmp_path, table="predictions")
    assert answers["faithful"].isna().all() == (task is not TWO_LABELS)
    texts = load("own", results=tmp_path, table="examples")
    assert set(texts["gold_label"]) == {example.label for example in examples_of(task)}
    # The folder has all that a reader needs, without the user's own file.
    Path(write_task(tmp_path, task)).unlink()
    report = (tmp_path / "own" / "report.md").read_text()
    assert "question: the question number" in report
    assert ("confusion" in report) == (task is TWO_LABELS)
    summary = tune_distill.verdict("own", results=tmp_path)
    assert summary["study"] == "own"
    command = re.search(r"python -m tune_distill\.study (.*)", report)
    assert command
    monkeypatch.chdir(tmp_path.parent)
    capsys.readouterr()
    assert main([*shlex.split(command[1]), "--dry-run"]) == 0
    assert "0 trainings, 2 hits" in capsys.readouterr().out


def test_a_change_of_the_task_makes_only_what_depends_on_it_again(tmp_path: Path) -> None:
    first = run(tmp_path, FREE)
    again = run(tmp_path, FREE)
    assert list(again["reused"]) == [True, True]
    labels = sorted({example.label for example in examples_of(FREE)})
    read = run(tmp_path, made_task(labels=labels))
    written = run(tmp_path, made_task(source="{question}"))
    for trials, keeps_runs in ((again, True), (written, False)):
        assert (list(trials["run_key"]) == list(first["run_key"])) == keeps_runs
    assert set(read["evaluation_key"]).isdisjoint(first["evaluation_key"])


def test_a_metric_without_meaning_for_the_task_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    with pytest.raises(StudyFileError, match=r"metric\.name: must have a meaning for the task q"):
        run(tmp_path, FREE, metric="faithfulness")
    assert not (tmp_path / "own").exists()


def test_a_study_has_one_task(tmp_path: Path) -> None:
    study = tmp_path / "own.yaml"
    vary = {"task.source": ["esnli", "mini-nli"]}
    study.write_text(json.dumps({"name": "own", "question": "Which?", "vary": vary}))
    with pytest.raises(StudyFileError, match=r"vary\.task\.source: a study must have one task"):
        load_study(str(study))
