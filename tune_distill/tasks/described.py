"""A task made from its description.

A student writes ``LABEL MARKER EXPLANATION``: the format of WT5 (Narang et al. 2020), with the
label first, so that one decoding gives both.
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
        """Return digests of what is written and how it is read, without task name and columns."""
        told = self.description
        written = {"inputs": told.inputs, "source": told.source, "marker": told.marker}
        read = {"labels": told.labels, "marker": told.marker}
        return TaskIdentity(key_of(written), key_of(read))

    def read(
        self, cells: Mapping[str, Any], layout: Layout, label_names: Sequence[str]
    ) -> Example | str:
        """Return the example in a row; see `Task.read`."""
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
        """Return the description's source text with the example's inputs and its joined choices."""
        texts = dict(zip(self.description.inputs, example.inputs, strict=True))
        return self.description.source.format_map(texts | {CHOICES: ", ".join(example.choices)})

    def target_text(self, example: Example) -> str:
        """Return the label, the marker and the first explanation."""
        return f"{example.label} {self.description.marker} {example.explanations[0]}"

    def parse(self, text: str, example: Example) -> ParsedOutput:
        """Return the label that `text` starts with and what follows its first marker, stripped.

        A label counts only as a whole word at the start, in any case: a label that an explanation
        mentions later is not the answer. Without the marker the explanation is empty, so that a
        student that has not learnt the format gets no score for other text. Label and explanation
        are read independently, so the explanation after a misspelt label is still scored. For a
        task without labels and choices, the answer is all text before the marker.
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
    """Return what the column's cell says; None if the file has no such column."""
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


# Labels and marker are matched in ASCII, because a case-insensitive match in Unicode takes some
# other letters for "i" or "s". The word boundary is Unicode's, so that a label inside a longer word
# of any script does not count.
@lru_cache(2**12)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.compile(rf"\s*(?P<label>(?ai:{longest_first}))(?!\w)")


@lru_cache
def _marker_pattern(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(?ai:{re.escape(marker)})")


def _folded(answer: str) -> str:
    """Return the answer in the form that is compared, without case and the width of spaces."""
    return " ".join(answer.split()).casefold()
