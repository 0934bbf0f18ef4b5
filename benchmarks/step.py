"""A training step at flan-t5-small's shape: our T5, HF's in our loop, HF's Trainer, the notebook's.

Each takes a few steps in turn. A step's operations are counted on real tokens, without padding, and
compared with the machine's speed on the step's matrix products alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.flops import kernel_limit, step_flops, torch_limit
from benchmarks.measure import Promise, report
from benchmarks.peers import notebook, trainer
from benchmarks.peers.common import NLI, Task, sources, targets
from benchmarks.workload import FLAN_T5_SMALL, make_student
from tune_distill.spec.profile import Student, Train
from tune_distill.students.process import configure_torch
from tune_distill.students.registry import read_student
from tune_distill.students.tokens import Pairs
from tune_distill.tasks.sources import read_source
from tune_distill.training.loop import Training

NUM_TRAIN = 500
SMOOTHING = 0.1
LEAST_OF_LIMIT, LEAST_TO_TRAINER, MOST_TO_NOTEBOOK = 0.55, 1.3, 0.30


@dataclass(frozen=True)
class Step:
    """Time and work of one training step; tokens are counted without padding."""

    seconds: float
    num_examples: int
    num_source: int = 0
    num_target: int = 0


def main(given: argparse.Namespace) -> int:
    configure_torch(torch.get_num_threads())
    with tempfile.TemporaryDirectory() as scratch:
        student = make_student(FLAN_T5_SMALL, given.data, Path(scratch) / "student")
        raw = read_source(given.data, NLI)
        task = Task(str(student), raw.train[:NUM_TRAIN], raw.validation[:16], 1)
        ways = {
            "ours": _ours(task, "t5"),
            "HF's T5 in our loop": _ours(task, "hf"),
            "trainer": _trainer(task),
            "notebook": _notebook(task),
        }
        steps: dict[str, list[Step]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                steps[name] += [next(way) for _ in range(2 if name == "notebook" else 4)]
                print(f"  {name}: {steps[name][-1].seconds:.2f} s", file=sys.stderr, flush=True)
    ours = steps["ours"]
    tokens = [round(statistics.mean(getattr(step, name) for step in ours)) for name in _TOKENS]
    limits = {
        "torch": torch_limit(FLAN_T5_SMALL, *tokens),
        "kernel": kernel_limit(FLAN_T5_SMALL, *tokens),
    }
    reached = sum(
        step_flops(FLAN_T5_SMALL, step.num_source, step.num_target) for step in ours
    ) / sum(step.seconds for step in ours)
    rows = [(name, _mean_s(found), 16 / _mean_s(found)) for name, found in steps.items()]
    promises = [
        Promise(
            "ours, share of what torch's products reach",
            reached / limits["torch"],
            LEAST_OF_LIMIT,
            at_least=True,
        ),
        Promise(
            "ours to trainer, examples a second",
            _mean_s(steps["trainer"]) / _mean_s(ours),
            LEAST_TO_TRAINER,
            at_least=True,
        ),
        Promise(
            "ours to notebook, seconds a step",
            _mean_s(ours) / _mean_s(steps["notebook"]),
            MOST_TO_NOTEBOOK,
        ),
    ]
    figures = {
        "limit_gflops": {name: each / 1e9 for name, each in limits.items()},
        "reached_gflops": reached / 1e9,
        "tokens": dict(zip(_TOKENS, tokens, strict=True)),
    }
    print(
        f"products alone: torch's {limits['torch'] / 1e9:.0f} GFLOP/s, ours "
        f"{limits['kernel'] / 1e9:.0f}; our step, by its {sum(tokens)} real tokens: "
        f"{reached / 1e9:.0f}, {reached / limits['kernel']:.0%} of ours alone"
    )
    columns = ("way", "seconds a step", "examples a second")
    return report("step", columns, rows, promises, figures, given.json)


_TOKENS = ("num_source", "num_target")


def _mean_s(steps: list[Step]) -> float:
    """Return the mean seconds a step, because batches differ in length."""
    return statistics.mean(step.seconds for step in steps)


def _timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _ours(task: Task, kind: str) -> Iterator[Step]:
    student = Student(source=task.student, kind=kind)
    package = read_student(student)
    read, written = package.encode(sources(task.train)), package.encode(targets(task.train))
    pairs = Pairs(
        read.rows(len(task.train), task.max_source_length),
        written.rows(len(task.train), task.max_target_length),
    )
    settings = replace_train(task)
    training = Training(package.untrained().model(), pairs, pairs, settings, 0)
    training.model.train()
    while True:
        for indices in training._remaining_batches():
            seconds = _timed(lambda: training._step(indices, 5e-5))  # noqa: B023
            training._window.clear()
            yield Step(
                seconds,
                len(indices),
                sum(len(pairs.sources[index]) for index in indices),
                sum(len(pairs.targets[index]) for index in indices),
            )


def replace_train(task: Task) -> Train:
    return Train(
        num_epochs=100,
        batch_size=task.batch_size,
        learning_rate=task.learning_rate,
        label_smoothing=SMOOTHING,
        max_source_length=task.max_source_length,
        max_target_length=task.max_target_length,
    )


def _trainer(task: Task) -> Iterator[Step]:
    """Yield the Trainer's own training steps on its own batches, with clipping and optimizer."""
    from transformers import T5ForConditionalGeneration

    model = T5ForConditionalGeneration.from_pretrained(task.student)
    with tempfile.TemporaryDirectory() as folder:
        hf = trainer.make_trainer(task, model, SMOOTHING, "random", folder)
        batches = hf.get_train_dataloader()
        hf.create_optimizer_and_scheduler(100 * len(batches))
        hf.current_gradient_accumulation_steps = 1
        model.train()
        while True:
            for batch in batches:
                yield Step(_timed(lambda: _trainer_step(hf, model, batch)), task.batch_size)  # noqa: B023


def _trainer_step(hf: Any, model: Any, batch: Any) -> None:
    hf.training_step(model, batch)
    hf.accelerator.clip_grad_norm_(model.parameters(), hf.args.max_grad_norm)
    hf.optimizer.step()
    hf.lr_scheduler.step()
    model.zero_grad()


def _notebook(task: Task) -> Iterator[Step]:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(task.student)
    model = T5ForConditionalGeneration.from_pretrained(task.student)
    optimizer = torch.optim.AdamW(model.parameters(), lr=task.learning_rate)
    batches = DataLoader(
        notebook.encoded(task, tokenizer, task.train), task.batch_size, shuffle=True
    )
    model.train()
    while True:
        for batch in batches:
            step = lambda: notebook.train_step(model, batch, optimizer, SMOOTHING)  # noqa: B023,E731
            yield Step(_timed(step), task.batch_size)
