"""The examples that both peers train on, and the metrics that both must report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from tune_distill.records.examples import Example
from tune_distill.spec.yaml_files import shipped_task
from tune_distill.tasks.answers import ExampleLoss
from tune_distill.tasks.described import DescribedTask
from tune_distill.tasks.scoring import score_answers, summarize
from tune_distill.tasks.simulator import Simulator
from tune_distill.tasks.simulator_fit import fit_simulator
from tune_distill.tasks.sources import read_source

NLI = DescribedTask(shipped_task("esnli"))
SMOOTHINGS = (0.0, 0.1, 0.2)
SEED = 0


@dataclass(frozen=True)
class Task:
    """The notebook's settings, and the first examples of the data."""

    student: str
    train: list[Example]
    validation: list[Example]
    num_epochs: int
    batch_size: int = 16
    learning_rate: float = 5e-5
    max_source_length: int = 128
    max_target_length: int = 64
    max_new_tokens: int = 64
    eval_steps: int = 20
    logging_steps: int = 10


def task_of(arguments: Sequence[str] | None = None) -> tuple[Task, argparse.Namespace]:
    """Return the task that the command line names, and all arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--student", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--num-train", type=int, required=True)
    parser.add_argument("--num-validation", type=int, required=True)
    parser.add_argument("--num-epochs", type=int, required=True)
    parser.add_argument("--group-by-length", action="store_true")
    given = parser.parse_args(arguments)
    raw = read_source(given.data, NLI)
    train, validation = raw.train[: given.num_train], raw.validation[: given.num_validation]
    return Task(given.student, train, validation, given.num_epochs), given


def sources(examples: Sequence[Example]) -> list[str]:
    return list(map(NLI.source_text, examples))


def targets(examples: Sequence[Example]) -> list[str]:
    return list(map(NLI.target_text, examples))


def simulator_of(task: Task) -> Simulator:
    return fit_simulator(
        [example.explanations[0] for example in task.train],
        [example.label for example in task.train],
    )


def metrics(task: Task, texts: Sequence[str], simulator: Simulator) -> dict[str, float | None]:
    """Return accuracy, ROUGE and faithfulness of one answer per validation example."""
    no_losses = [ExampleLoss(0.0, 1)] * len(texts)
    rows = score_answers(NLI, task.validation, [[text] for text in texts], no_losses, simulator)
    return summarize(rows)
