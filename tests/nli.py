"""e-SNLI as tests use it: its task, examples in one line, and their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune_distill.records.examples import Example
from tune_distill.students.tokens import TokenPairs, tokenize_examples
from tune_distill.tasks import sources
from tune_distill.tasks.registry import task_of

NLI = task_of("esnli")
LABELS = tuple(NLI.description.labels or ())


def pair(
    example_id: str, premise: str, hypothesis: str, label: str, explanations: tuple[str, ...]
) -> Example:
    """An example of two sentences."""
    return Example(example_id, (premise, hypothesis), label, explanations)


def read_source(source: str) -> sources.RawCorpus:
    """The sentence pairs of a data source."""
    return sources.read_source(source, NLI)


def tokenized(tokenizer: Any, examples: Sequence[Example]) -> TokenPairs:
    """The texts of the examples as tokens."""
    texts = (list(map(write, examples)) for write in (NLI.source_text, NLI.target_text))
    return tokenize_examples(tokenizer, *texts)
