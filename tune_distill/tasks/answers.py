"""A student's answers to examples, as metrics see them."""

from __future__ import annotations

from dataclasses import dataclass

from tune_distill.records.examples import Example
from tune_distill.tasks.task import ParsedOutput


@dataclass(frozen=True, slots=True)
class ExampleLoss:
    """Cross-entropy of one example's target, without smoothing: the sum over its tokens."""

    total: float
    num_tokens: int

    @property
    def per_token(self) -> float:
        return self.total / self.num_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """One generated text, parsed, and the example that it answers."""

    example: Example
    example_id: str
    """The example's content id, because the ids of rows may change while the answer is stored."""
    sample: int
    text: str
    """The output as generated."""
    parsed: ParsedOutput
    loss: ExampleLoss
    """The loss of the example's own target, the same for all samples of an example."""
    guess: str | None
    """The label that the simulator guesses from the explanation alone.

    None without a simulator, or if it knows no word.
    """

    @property
    def label(self) -> str | None:
        """The label that the answer gives; None if it gives none."""
        return self.parsed.label

    @property
    def explanation(self) -> str:
        """The text after the task's marker; empty without a marker."""
        return self.parsed.explanation
