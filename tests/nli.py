"""e-SNLI in tests: its task, and a short way to make examples."""

from __future__ import annotations

from tune_distill.records.examples import Example
from tune_distill.tasks import sources
from tune_distill.tasks.registry import task_of

NLI = task_of("esnli")
LABELS = tuple(NLI.description.labels or ())


def pair(
    example_id: str, premise: str, hypothesis: str, label: str, explanations: tuple[str, ...]
) -> Example:
    """Return an example of two sentences."""
    return Example(example_id, (premise, hypothesis), label, explanations)


def read_source(source: str) -> sources.RawCorpus:
    """Return the sentence pairs of a data source."""
    return sources.read_source(source, NLI)
