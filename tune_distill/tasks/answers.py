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
    """The example's content id: stored answers outlive the names of rows."""
    sample: int
    text: str
    """The output as generated."""
    parsed: ParsedOutput
    loss: ExampleLoss
    """Of the example's own target; all samples of an example repeat it."""
    guess: str | None
    """The label that the simulator guesses from the explanation alone; None without a simulator, or
    if it knows no word."""

    @property
    def label(self) -> str | None:
        """The label that the answer gives; None if it gives none."""
        return self.parsed.label

    @property
    def explanation(self) -> str:
        """What follows the task's marker in the text; empty without it."""
        return self.parsed.explanation
