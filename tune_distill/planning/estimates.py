"""Estimates of training time, from stored runs of the student or roughly from its size."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from tune_distill.records.examples import Example
from tune_distill.records.store import Store
from tune_distill.spec.plan import Trial
from tune_distill.students.batches import num_steps
from tune_distill.students.registry import num_parameters
from tune_distill.tasks.task import Task

# Rough figures for one CPU core, used only if no run of the student is stored.
_FLOPS_PER_S = 2e10
_STEP_OVERHEAD_S = 0.01
_TOKENS_PER_WORD = 1.4


def measured_examples_per_s(student: Mapping[str, str], store: Store) -> float | None:
    """Return the median training speed of the student's stored runs; None if there are none."""
    speeds = [
        run.examples_per_s
        for key, identity in store.identities()
        if identity["student"] == student and (run := store.run(key)) is not None
    ]
    return statistics.median(speeds) if speeds else None


def training_estimate_s(
    trials: Iterable[Trial], store: Store, examples: Sequence[Example], task: Task
) -> float:
    """Return the estimated seconds of training these trials on one worker.

    `examples` are some of their training examples, from which the length of the task's texts is
    estimated.
    """
    trials = list(trials)
    students = {trial.profile.student: trial.run_identity["student"] for trial in trials}
    # This reads every stored run, so do it once for each student, not for each trial.
    speeds = {name: measured_examples_per_s(what, store) for name, what in students.items()}
    return sum(_one(trial, speeds[trial.profile.student], examples, task) for trial in trials)


def _one(trial: Trial, speed: float | None, examples: Sequence[Example], task: Task) -> float:
    num_train, settings = trial.run_identity["data"]["num_train"], trial.profile.train
    if speed is not None:
        return float(num_train * settings.num_epochs / speed)
    words: float = statistics.fmean(
        len(task.source_text(example).split()) + len(task.target_text(example).split())
        for example in examples[:200]
    )
    # Six floating-point operations per parameter and token: two forward, four backward.
    flops = 6 * num_parameters(trial.profile.student) * words * _TOKENS_PER_WORD
    steps = num_steps(num_train, settings)
    return float(num_train * settings.num_epochs * flops / _FLOPS_PER_S + steps * _STEP_OVERHEAD_S)
