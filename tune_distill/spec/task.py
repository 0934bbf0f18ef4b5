"""A task as a file describes it: its texts, its labels, and the columns that it is read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Annotated, Any

from pydantic import Field

from tune_distill.spec.metrics import METRICS
from tune_distill.spec.section import Section
from tune_distill.spec.shown import shown

CHOICES = "choices"
"""What a source text calls the example's choices, and a set of columns the column with them."""

_TABLES = (CHOICES, "trial_id", "example_id", "sample", "gold_label", "prediction", "explanation")
_MEASURED = {
    column
    for metric in METRICS.values()
    for column in (metric.answer_column, metric.weight_column)
    if column is not None
}

RESERVED = frozenset({*_TABLES, "explanations", *_MEASURED})
"""Columns of the tables of answers and examples (records/schemas.py); no input has such a name."""

Text = Annotated[str, Field(min_length=1, max_length=1000)]
InputName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Columns(Section):
    """The columns of one layout of data files."""

    inputs: list[Text] = Field(description="Columns of the input texts, in the task's order")
    label: Text = Field(description="Column of the gold label")
    explanations: list[Text] = Field(
        min_length=1, description="Columns of explanations; a file needs one of them"
    )
    id: Text | None = Field(None, description="Column of the rows' own names, if a file has it")
    choices: Text | None = Field(
        None, description="Column with a list of each row's possible answers, without fixed labels"
    )


class TaskDescription(Section):
    """What is asked, how it is written, and from which columns it is read."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")] = Field(
        description="What messages call the task"
    )
    inputs: list[InputName] = Field(
        min_length=1, description="Names of an example's input texts; columns of the examples table"
    )
    labels: list[Text] | None = Field(
        None,
        min_length=2,
        description="All answers, in the order that the numbers 0, 1, ... stand for; none if "
        "answers are free or each row has choices",
    )
    source: Text = Field(description="What a student reads, with {input} for each input text")
    marker: Text = Field(description="What stands between answer and explanation in its answer")
    columns: list[Columns] = Field(
        min_length=1, description="Layouts of data files; the first that fits a file is used"
    )
    no_label: list[Text] = Field(
        default_factory=list, description="What a label column holds where there is no gold label"
    )
    hub_sets: dict[str, Text] = Field(
        default_factory=dict, description="Short names of data sets on the hub, for data.source"
    )

    @property
    def has_choices(self) -> bool:
        """Whether each example has answers of its own to choose from."""
        return self.columns[0].choices is not None

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Faults of names, labels, texts and columns that do not fit together."""
        inputs, labels = parts.get("inputs", []), parts.get("labels")
        yield from _name_faults(inputs)
        yield from _label_faults(labels or [])
        if "marker" in parts:
            yield from _marker_faults(parts["marker"], labels or [])
        columns = parts.get("columns", [])
        with_choices = [each.choices is not None for each in columns]
        if "inputs" in parts:
            if "source" in parts:
                yield from _source_faults(parts["source"], inputs, any(with_choices))
            for number, each in enumerate(columns):
                if len(each.inputs) != len(inputs):
                    yield (
                        f"columns.{number}.inputs: must name a column for each of "
                        f"{', '.join(inputs)}, got {', '.join(each.inputs) or 'none'}"
                    )
        if any(with_choices) and (labels or not all(with_choices)):
            yield (
                "columns: choices must be in all layouts, and only in a task without labels, got "
                f"them in {sum(with_choices)} of {len(columns)}"
                f"{' beside labels' if labels else ''}"
            )


def _name_faults(inputs: Sequence[str]) -> Iterable[str]:
    for name in inputs:
        if name in RESERVED:
            yield f"inputs: tables have a column of this name already, got {name}; choose another"
    if len(set(inputs)) < len(inputs):
        yield f"inputs: names must differ, got {', '.join(inputs)}"


def _label_faults(labels: Sequence[str]) -> Iterable[str]:
    plain = [label.lower() for label in labels]
    if len(set(plain)) < len(plain):
        yield f"labels: must differ in more than capitals, got {', '.join(labels)}"
    for label in labels:
        if label != label.strip():
            yield f"labels: must have no space around them, got {shown(label)}"


def _marker_faults(marker: str, labels: Sequence[str]) -> Iterable[str]:
    if not marker.strip():
        yield f"marker: must hold a word, got {shown(marker)}"
    for label in labels:
        if marker.lower() in label.lower():
            yield f"marker: must not stand in a label, got {shown(marker)} in {shown(label)}"


def _source_faults(source: str, inputs: Sequence[str], with_choices: bool) -> Iterable[str]:
    """Faults of the template: it holds each input once or more, and nothing else to fill in."""
    known = [*inputs, *([CHOICES] if with_choices else [])]
    try:
        fields = [part for part in Formatter().parse(source) if part[1] is not None]
    except ValueError as error:
        yield f"source: must be a text with {{input}} for each input, got {shown(source)} ({error})"
        return
    names = [name for _, name, *_ in fields]
    if set(names) != set(known) or any(form or conversion for *_, form, conversion in fields):
        yield (
            f"source: must hold {', '.join(f'{{{name}}}' for name in known)} and no other names "
            f"in braces, got {shown(source)}"
        )
