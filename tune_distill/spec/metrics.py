"""Declarations of the metrics, which scoring, tables, words, figures and statistics read."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True)
class AnswerColumn:
    """A column of the predictions table: what each answer contributes to a metric.

    `meaning` documents the column, and `null` says when an answer has no value in it. `computed_by`
    names the function that computes the value from a `tasks/answers.py:Answer`, as MODULE:FUNCTION;
    it returns None where the value has no meaning. The columns that every answer has anyway, such
    as `correct`, need a name alone.
    """

    name: str
    meaning: str = ""
    computed_by: str = ""
    null: str = "never"
    type: Literal["real", "whole", "truth"] = "real"


@dataclass(frozen=True)
class Metric:
    """A metric of a trial.

    `name` is its column in the trials table, and `meaning` documents that column. Readers see
    `label` and `unit`. The metric is the mean of the column `answers` over a trial's answers that
    have a value there, weighted by `weight_column`; with `counts_present`, it is the share of
    answers that have one. Without such a column it has no intervals, and no study can be judged by
    it. `version` is part of the evaluation key: raise it when the metric is computed differently.
    At 0 the key does not name the metric. `is_share`: its values lie between 0 and 1. `in_steps`:
    training reports it, after each of its evaluations. `heading` is the column's heading in the
    terminal's table; an empty one leaves the column out. `is_charted` says whether it has a panel
    of its own. `ceiling` documents the column `<name>_ceiling`, the metric's best possible value.
    `absent` says for which data the metric has no meaning. `needs_labels`: it has a meaning only
    for tasks with fixed labels. `computed_by` names the function of a metric that is computed from
    all of a trial's answers at once, with an encoder.
    """

    name: str
    label: str
    unit: str
    meaning: str
    answers: AnswerColumn | None
    weight_column: str | None = None
    version: int = 1
    counts_present: bool = False
    lower_is_better: bool = False
    is_share: bool = True
    in_steps: bool = False
    heading: str = ""
    form: str = ".3f"
    is_charted: bool = False
    ceiling: str = ""
    absent: str = ""
    needs_labels: bool = False
    computed_by: str = ""

    @property
    def answer_column(self) -> str | None:
        """The name of the column of `answers`."""
        return self.answers.name if self.answers else None

    @property
    def null(self) -> str:
        """When a trial has no value of the metric."""
        if self.in_steps:
            return "if it ended before its first evaluation"
        return "unless `complete`" + (f", and where {self.absent}" if self.absent else "")


_DECLARED = (
    Metric(
        "label_accuracy",
        "label accuracy",
        "share of answers",
        "Share of answers whose parsed label is gold; unparsable is wrong",
        AnswerColumn("correct"),
        version=0,
        heading="accuracy",
        is_charted=True,
    ),
    Metric(
        "parse_rate",
        "parse rate",
        "share of answers",
        "Share of answers that give a label",
        AnswerColumn("predicted_label"),
        version=0,
        counts_present=True,
    ),
    Metric(
        "rouge1",
        "ROUGE-1",
        "F1",
        "ROUGE-1 F1 of explanations, stemmed, best reference, mean",
        AnswerColumn(
            "rouge1",
            "ROUGE-1 F1 of the explanation, stemmed, best reference",
            "tune_distill.tasks.metrics.rouge:rouge1",
            null="if no reference has a word",
        ),
        version=0,
        absent="no reference explanation holds a word",
        is_charted=True,
    ),
    Metric(
        "rouge2",
        "ROUGE-2",
        "F1",
        "ROUGE-2 F1, likewise",
        AnswerColumn(
            "rouge2",
            "ROUGE-2 F1, likewise",
            "tune_distill.tasks.metrics.rouge:rouge2",
            null="if no reference has a word",
        ),
        version=0,
        absent="no reference explanation holds a word",
    ),
    Metric(
        "rougeL",
        "ROUGE-L",
        "F1",
        "ROUGE-L F1, likewise",
        AnswerColumn(
            "rougeL",
            "ROUGE-L F1, likewise",
            "tune_distill.tasks.metrics.rouge:rouge_l",
            null="if no reference has a word",
        ),
        version=0,
        heading="ROUGE-L",
        is_charted=True,
        absent="no reference explanation holds a word",
    ),
    Metric(
        "faithfulness",
        "faithfulness",
        "share of answers",
        "Share of answers whose explanation alone leads the simulator to the student's own label",
        AnswerColumn(
            "faithful",
            "Whether the explanation alone leads the simulator to predicted_label",
            "tune_distill.tasks.metrics.faithfulness:faithful",
            null="if the task has no fixed labels, or the simulator knows no word",
            type="truth",
        ),
        version=0,
        heading="faithful",
        is_charted=True,
        ceiling="Share of gold validation explanations that lead the simulator to the gold label",
        absent="the task has no fixed labels, or training explanations share no word, for the "
        "simulator to learn from",
        needs_labels=True,
    ),
    Metric(
        "grounding",
        "grounding",
        "share of content words",
        "Share of an explanation's content words found in the input texts, mean",
        AnswerColumn(
            "grounding",
            "Share of its content words in the input texts",
            "tune_distill.tasks.metrics.grounding:grounding",
            null="if the explanation has no content word",
        ),
        version=0,
        is_charted=True,
        absent="no explanation holds a content word",
    ),
    Metric(
        "bertscore",
        "BERTScore",
        "F1",
        "BERTScore F1, best reference, mean",
        None,
        version=0,
        absent="the profile names no encoder",
        computed_by="tune_distill.training.bertscore:bertscore",
    ),
    Metric(
        "eval_loss",
        "evaluation loss",
        "nats a token",
        "Cross-entropy a validation target token, without smoothing",
        AnswerColumn("eval_loss"),
        weight_column="num_target_tokens",
        version=0,
        lower_is_better=True,
        is_share=False,
        in_steps=True,
        heading="loss",
        form=".4f",
        is_charted=True,
    ),
)

METRICS = {metric.name: metric for metric in _DECLARED}
"""The metrics by name, in the order of tables and figures."""

JUDGED = tuple(name for name, metric in METRICS.items() if metric.answer_column)
"""The metrics that a study can be judged by."""

SCORES = tuple(
    metric.answers for metric in _DECLARED if metric.answers and metric.answers.computed_by
)
"""The columns of the predictions table that metrics compute for each answer."""

IN_STEPS = tuple(name for name, metric in METRICS.items() if metric.in_steps)
"""Metrics that a trial reports while it trains; a scheduler can prune only by these."""


def function(computed_by: str) -> Any:
    """Return the function that MODULE:FUNCTION names."""
    module, name = computed_by.split(":")
    return getattr(import_module(module), name)


def metric_versions() -> dict[str, int]:
    """Return the versions that evaluation keys name."""
    return {metric.name: metric.version for metric in METRICS.values() if metric.version}


def metric_columns() -> dict[str, tuple[str, str]]:
    """Return the metrics' columns of the trials table: what they mean, and when they are null."""
    columns = {}
    for metric in METRICS.values():
        columns[metric.name] = metric.meaning, metric.null
        if metric.ceiling:
            columns[f"{metric.name}_ceiling"] = metric.ceiling, metric.null
    return columns
