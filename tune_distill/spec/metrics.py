"""Declarations of the metrics, which tables, words, figures and statistics read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric of a trial.

    `name` is its column in the trials table, and `meaning` documents that column. Readers see
    `label` and `unit`. The metric is the mean of `answer_column` over a trial's answers, weighted
    by `weight_column`; without an answer column it has no intervals, and no study can be judged by
    it. `is_share`: its values lie between 0 and 1. `in_steps`: it is also reported during training.
    `heading` is the column's heading in the terminal's table; an empty one leaves the column out.
    `is_charted` says whether it has a panel of its own. `ceiling` documents the column
    `<name>_ceiling`, the metric's best possible value. `absent` says for which data the metric has
    no meaning. `needs_labels`: it has a meaning only for tasks with
    fixed labels.
    """

    name: str
    label: str
    unit: str
    meaning: str
    answer_column: str | None
    weight_column: str | None = None
    lower_is_better: bool = False
    is_share: bool = True
    in_steps: bool = False
    heading: str = ""
    form: str = ".3f"
    is_charted: bool = False
    ceiling: str = ""
    absent: str = ""
    needs_labels: bool = False


_DECLARED = (
    Metric(
        "label_accuracy",
        "label accuracy",
        "share of answers",
        "Share of answers whose parsed label is gold; unparsable is wrong",
        "correct",
        heading="accuracy",
        is_charted=True,
    ),
    Metric(
        "parse_rate",
        "parse rate",
        "share of answers",
        "Share of answers that give a label",
        "predicted_label",
    ),
    Metric(
        "rouge1",
        "ROUGE-1",
        "F1",
        "ROUGE-1 F1 of explanations, stemmed, best reference, mean",
        "rouge1",
        is_charted=True,
    ),
    Metric("rouge2", "ROUGE-2", "F1", "ROUGE-2 F1, likewise", "rouge2"),
    Metric(
        "rougeL",
        "ROUGE-L",
        "F1",
        "ROUGE-L F1, likewise",
        "rougeL",
        heading="ROUGE-L",
        is_charted=True,
        absent="no reference explanation holds a word",
    ),
    Metric(
        "faithfulness",
        "faithfulness",
        "share of answers",
        "Share of answers whose explanation alone leads the simulator to the student's own label",
        "faithful",
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
        "grounding",
        is_charted=True,
        absent="no explanation holds a content word",
    ),
    Metric(
        "bertscore",
        "BERTScore",
        "F1",
        "BERTScore F1, best reference, mean; null unless the profile names an encoder",
        None,
    ),
    Metric(
        "eval_loss",
        "evaluation loss",
        "nats a token",
        "Cross-entropy a validation target token, without smoothing",
        "eval_loss",
        weight_column="num_target_tokens",
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

IN_STEPS = tuple(name for name, metric in METRICS.items() if metric.in_steps)
"""Metrics that a trial reports while it trains; a scheduler can prune only by these."""


def metric_columns() -> dict[str, str]:
    """Return the metrics' columns of the trials table with their meanings."""
    columns = {}
    for metric in METRICS.values():
        columns[metric.name] = metric.meaning
        if metric.ceiling:
            columns[f"{metric.name}_ceiling"] = metric.ceiling
    return columns
