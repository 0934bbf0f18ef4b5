"""Scores a trial's answers: their rows in the predictions table, and the trial's means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tune_distill.records.examples import Example, content_ids
from tune_distill.spec.metrics import METRICS, SCORES, function
from tune_distill.tasks.answers import Answer, ExampleLoss
from tune_distill.tasks.simulator import Simulator
from tune_distill.tasks.task import Task

Row = Mapping[str, Any]
"""A row of the predictions table."""

Score = Callable[[Answer], float | bool | None]
"""Computes what an answer contributes to a metric; None if that has no meaning."""


_SCORES: dict[str, Score] = {column.name: function(column.computed_by) for column in SCORES}


def score_answers(
    task: Task,
    examples: Sequence[Example],
    texts: Sequence[Sequence[str]],
    losses: Sequence[ExampleLoss],
    simulator: Simulator | None,
) -> list[Row]:
    """Return a row for each text, by example and then by sample.

    `texts[i][k]` is sample k of example i, whose loss is `losses[i]`. A task without labels has no
    simulator.
    """
    parsed = [
        (example, name, sample, text, task.parse(text, example), loss)
        for name, example, samples, loss in zip(
            content_ids(examples), examples, texts, losses, strict=True
        )
        for sample, text in enumerate(samples)
    ]
    guesses: Sequence[str | None] = [None] * len(parsed)
    if simulator is not None and not simulator.is_blind:
        guesses = simulator.predict([output.explanation for *_, output, _ in parsed])
    return [_row(Answer(*each, guess)) for each, guess in zip(parsed, guesses, strict=True)]


def _row(answer: Answer) -> Row:
    return {
        "example_id": answer.example_id,
        "sample": answer.sample,
        "gold_label": answer.example.label,
        "predicted_label": answer.label,
        "correct": answer.label == answer.example.label,
        "prediction": answer.text,
        "explanation": answer.explanation,
        **{name: score(answer) for name, score in _SCORES.items()},
        "eval_loss": answer.loss.per_token,
        "num_target_tokens": answer.loss.num_tokens,
    }


def summarize(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return the metrics of at least one row, by name.

    A row without a value is left out of the metric's mean, which is None if no row has one. The
    evaluation loss is not included, because training has measured it over the same examples.
    """
    return {
        name: _mean([row[metric.answer_column] for row in rows], metric.counts_present)
        for name, metric in METRICS.items()
        if metric.answer_column and not metric.in_steps
    }


def _mean(values: Sequence[Any], counts_present: bool) -> float | None:
    present = [value for value in values if value is not None]
    if counts_present:
        return len(present) / len(values)
    return fmean(present) if present else None
