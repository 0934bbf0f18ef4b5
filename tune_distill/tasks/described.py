"""A task made from its description.

A student writes ``LABEL MARKER EXPLANATION``: the format of WT5 (Narang et al. 2020), the label
first, so that one decoding gives both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from tune_distill.records.examples import Example
from tune_distill.spec.keys import TaskIdentity, key_of
from tune_distill.spec.task import CHOICES, TaskDescription
from tune_distill.tasks.cells import answer_of, choices_of, id_of, label_of, text_of
from tune_distill.tasks.task import Embedded, Layout, ParsedOutput

Read = TypeVar("Read")


@dataclass(frozen=True)
class DescribedTask:
    """The task of a description, with its built-in corpus, if it has one."""

    description: TaskDescription
    corpus: Embedded | None = None

    def identity(self) -> TaskIdentity:
        """Digests of what is written and of how it is read, without the task's name and columns."""
        told = self.description
        written = {"inputs": told.inputs, "source": told.source, "marker": told.marker}
        read = {"labels": told.labels, "marker": told.marker}
        return TaskIdentity(key_of(written), key_of(read))

    def read(
        self, cells: Mapping[str, Any], layout: Layout, label_names: Sequence[str]
    ) -> Example | str:
        """The example in a row; see `Task.read`."""
        choices = _cell(cells, layout.choices, choices_of) or ()
        possible = self.description.labels or choices
        label = _cell(cells, layout.label, lambda cell: self._label(cell, possible, label_names))
        inputs = tuple(_cell(cells, name, text_of) or "" for name in layout.inputs)
        texts = (_cell(cells, name, text_of) for name in layout.explanations)
        explanations = tuple(text for text in texts if text)
        own_id = _cell(cells, layout.example_id, id_of) or ""
        if label is None:
            return "no gold label"
        if _marker_pattern(self.description.marker).search(label):
            return "marker in the answer"
        if layout.choices and not choices:
            return "no choices"
        for name, text in zip(self.description.inputs, inputs, strict=True):
            if not text:
                return f"no {name}"
        if not explanations:
            return "no explanation"
        return Example(own_id, inputs, label, explanations, choices)

    def _label(self, cell: Any, possible: Sequence[str], label_names: Sequence[str]) -> str | None:
        if possible:
            return label_of(cell, possible, label_names, self.description.no_label)
        answer = answer_of(cell)
        return None if answer in {"", *self.description.no_label} else answer

    def source_text(self, example: Example) -> str:
        """The description's source text with the example's inputs, and its choices in a row."""
        texts = dict(zip(self.description.inputs, example.inputs, strict=True))
        return self.description.source.format_map(texts | {CHOICES: ", ".join(example.choices)})

    def target_text(self, example: Example) -> str:
        """The label, the marker and the first explanation."""
        return f"{example.label} {self.description.marker} {example.explanations[0]}"

    def parse(self, text: str, example: Example) -> ParsedOutput:
        """The label that `text` starts with and what follows its first marker, stripped.

        A label counts as a whole word at the start only, in any case: a label that an explanation
        mentions later is no answer. Without the marker the explanation is empty, whatever else the
        text holds: a student that has not learnt the format earns nothing for text it did not offer
        as an explanation. Label and explanation are read independently, so that an output with a
        misspelt label still has its explanation scored. A task without labels and choices takes all
        that stands before the marker for the answer.
        """
        marker = _marker_pattern(self.description.marker).search(text)
        explanation = text[marker.end() :].strip() if marker else ""
        possible = self.description.labels or example.choices
        if possible:
            return ParsedOutput(_label_at_start(text, tuple(possible)), explanation)
        answer = (text[: marker.start()] if marker else text).strip()
        if _folded(answer) == _folded(example.label):
            answer = example.label
        return ParsedOutput(answer or None, explanation)


def _cell(cells: Mapping[str, Any], column: str | None, read: Callable[[Any], Read]) -> Read | None:
    """What the column's cell says; None if the file has no such column."""
    if column is None:
        return None
    try:
        return read(cells[column])
    except ValueError as error:
        raise ValueError(f"{column} {error}") from error


def _label_at_start(text: str, labels: tuple[str, ...]) -> str | None:
    found = _label_pattern(labels).match(text)
    if found is None:
        return None
    return {label.lower(): label for label in labels}[found["label"].lower()]


# Only labels and marker are matched in ASCII: elsewhere in Unicode there are letters that a
# case-blind match takes for an "i" or an "s" and that no label holds. The boundary stays Unicode's,
# so that a label inside a longer word of any script is none.
@lru_cache(2**12)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.compile(rf"\s*(?P<label>(?ai:{longest_first}))(?!\w)")


@lru_cache
def _marker_pattern(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(?ai:{re.escape(marker)})")


def _folded(answer: str) -> str:
    """The answer as it is compared: capitals and the width of spaces do not matter."""
    return " ".join(answer.split()).casefold()
