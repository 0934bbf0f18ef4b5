"""What one example is: a sentence pair, its label and its reference explanations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

LABELS = ("entailment", "neutral", "contradiction")
"""The three labels in the hub's order: the integers 0, 1 and 2 there."""


@dataclass(frozen=True, slots=True)
class Example:
    """A premise and a hypothesis with their label and one to three explanations.

    The first explanation is the one a student is trained to write; all of them are references
    when a generated explanation is scored.
    """

    example_id: str
    premise: str
    hypothesis: str
    label: str
    explanations: tuple[str, ...]

    def digest(self) -> bytes:
        """SHA-256 of texts and label (32 bytes), without the id, in which formats differ."""
        parts = (self.premise, self.hypothesis, self.label, *self.explanations)
        # Length prefixes keep ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(text.encode()).digest()
