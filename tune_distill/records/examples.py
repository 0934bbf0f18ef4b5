"""One example: a sentence pair, its label and its reference explanations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count

LABELS = ("entailment", "neutral", "contradiction")
"""The three labels in the hub's order: the integers 0, 1 and 2 there."""


@dataclass(frozen=True, slots=True)
class Example:
    """A premise and a hypothesis with their label and one to three explanations.

    `example_id` is the user's name for it, unique within a split. A student is trained to write
    the first explanation; all of them are references when a generated explanation is scored.
    """

    example_id: str
    premise: str
    hypothesis: str
    label: str
    explanations: tuple[str, ...]

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of texts and label; ids differ between file formats."""
        parts = (self.premise, self.hypothesis, self.label, *self.explanations)
        # Length prefixes keep ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(text.encode()).digest()


def content_ids(examples: Iterable[Example]) -> list[str]:
    """Return a name for each example that depends on its content alone.

    The name is the digest in hex; repeated examples get `-2`, `-3`, ... after it.
    """
    seen: Counter[str] = Counter()
    found = []
    for example in examples:
        name = example.digest().hex()
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def with_unique_ids(examples: Sequence[Example]) -> list[Example]:
    """Return the examples in order, with `-2`, `-3`, ... after repeated ids.

    Ids repeat if a pair has several annotations under one id.
    """
    taken = {example.example_id for example in examples}
    last: dict[str, int] = {}
    found = []
    for example in examples:
        name = example.example_id
        if name in last:
            numbers = count(last[name] + 1)
            last[name] = next(number for number in numbers if f"{name}-{number}" not in taken)
            example = replace(example, example_id=f"{name}-{last[name]}")
            taken.add(example.example_id)
        else:
            last[name] = 1
        found.append(example)
    return found
