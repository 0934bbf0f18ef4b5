"""The task port: what is asked of a student, and how its answer is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tune_distill.records.examples import Example
from tune_distill.spec.keys import TaskIdentity
from tune_distill.spec.metrics import METRICS
from tune_distill.spec.task import TaskDescription

Split = Literal["train", "validation"]

SPLITS: tuple[Split, ...] = ("train", "validation")

Embedded = Callable[[Split], list[Example]]
"""Makes the examples of a built-in corpus, the same on every call."""


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """What a student's output says: its label, None if unparsable, and its explanation."""

    label: str | None
    explanation: str


@dataclass(frozen=True)
class Layout:
    """Columns of a file by their content. `explanations` are those that the file has, in order."""

    inputs: tuple[str, ...]
    label: str
    explanations: tuple[str, ...]
    example_id: str | None = None
    choices: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in the order in which rows hold their cells."""
        others = (self.example_id, self.choices)
        return (*self.inputs, self.label, *self.explanations, *filter(None, others))


class Task(Protocol):
    """What is asked, and how an answer is read.

    `description` is its part that is data: names of inputs, labels, columns. A task is pickled and
    sent to the workers.
    """

    @property
    def description(self) -> TaskDescription: ...

    @property
    def corpus(self) -> Embedded | None:
        """The function that returns a split's examples, if the task has a built-in corpus."""

    def identity(self) -> TaskIdentity:
        """Return digests of what the task's texts and its reading of answers depend on."""

    def read(
        self, cells: Mapping[str, Any], layout: Layout, label_names: Sequence[str]
    ) -> Example | str:
        """Return the example in a row, or why the row is dropped; `cells` are by column.

        `label_names` are the labels that the numbers 0, 1, ... stand for in the file. The example's
        id is empty if the row has none.

        Raises:
            ValueError: a cell is malformed; the message starts with its column.
        """

    def source_text(self, example: Example) -> str:
        """Return the text that a student reads."""

    def target_text(self, example: Example) -> str:
        """Return the text that a student is trained to write: label and first explanation."""

    def parse(self, text: str, example: Example) -> ParsedOutput:
        """Return what an output for this example says.

        Its label equals the example's own, letter for letter, if and only if it is right.
        """


def metrics_of(task: TaskDescription) -> tuple[str, ...]:
    """Return the names of the metrics that have a meaning for the task."""
    return tuple(name for name, metric in METRICS.items() if task.labels or not metric.needs_labels)
