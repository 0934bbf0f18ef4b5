"""Tasks of every kind: two labels, choices in each row, free answers, and code of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tune_distill.records.examples import Example
from tune_distill.spec.keys import TaskIdentity
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_files import dump_task
from tune_distill.tasks.described import DescribedTask
from tune_distill.tasks.task import ParsedOutput, Task

QUESTIONS: dict[str, Any] = {
    "name": "questions",
    "inputs": ["question"],
    "source": "answer: {question}",
    "marker": "because",
    "columns": [
        {"inputs": ["question"], "label": "answer", "explanations": ["why", "why_2"], "id": "id"}
    ],
}


def made_task(**changes: Any) -> DescribedTask:
    """Return the task of QUESTIONS, which has free answers, with these fields changed."""
    return DescribedTask(TaskDescription.model_validate(QUESTIONS | changes))


FREE = made_task()
TWO_LABELS = made_task(name="yes-no", labels=["yes", "no"])
CHOICES = made_task(
    name="choices",
    source="{question} choices: {choices}",
    columns=[
        {"inputs": ["question"], "label": "answer", "explanations": ["why"], "choices": "choices"}
    ],
)


@dataclass(frozen=True)
class Sums(DescribedTask):
    """A task with its own code: a number is right in any notation."""

    def identity(self) -> TaskIdentity:
        # Increase the number when the code reads answers differently.
        return replace(super().identity(), reading="sums 1")

    def parse(self, text: str, example: Example) -> ParsedOutput:
        found = super().parse(text, example)
        try:
            is_right = float(found.label or "nan") == float(example.label)
        except ValueError:
            return found
        return replace(found, label=example.label) if is_right else found


SUMS = Sums(made_task(name="sums").description)


def examples_of(task: Task) -> list[Example]:
    """Return six examples of the task, which have each label or choice as an answer."""
    if task.corpus is not None:
        return task.corpus("train")[:6]
    told = task.description
    choices = ("a bank", "New York", "a bank account") if told.has_choices else ()
    labels = told.labels or choices or ("72", "a dog", "No, New York")
    return [
        Example(
            "",
            tuple(f"the {name} number {number}" for name in told.inputs),
            labels[number % len(labels)],
            (f"it is {number}", "it may be")[: len(told.columns[0].explanations)],
            choices,
        )
        for number in range(6)
    ]


def write_rows(folder: Path, task: Task, examples: list[Example], layout: int = 0) -> str:
    """Write a data source with the examples in both splits, in one of the task's layouts."""
    columns = task.description.columns[layout]
    rows = []
    for example in examples:
        row = dict(zip(columns.inputs, example.inputs, strict=True))
        row |= {columns.label: example.label}
        row |= dict(zip(columns.explanations, example.explanations, strict=False))
        if columns.choices is not None:
            row[columns.choices] = list(example.choices)
        rows.append(json.dumps(row))
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return str(folder)


def write_task(folder: Path, task: Task) -> str:
    """Write a file with the task's description, and return its path."""
    path = folder / f"{task.description.name}.yaml"
    path.write_text(dump_task(task.description), encoding="utf-8")
    return str(path)
