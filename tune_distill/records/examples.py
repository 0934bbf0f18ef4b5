"""One example: its input texts, its label and its reference explanations."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count


@dataclass(frozen=True, slots=True)
class Example:
    """Input texts with their label and one or more explanations.

    `example_id` is the user's name for it, unique within a split. `inputs` are in the order in
    which the task names them. `label` is the gold answer. A student is trained to write the first
    explanation; all of them are references when a generated explanation is scored. `choices` are
    the answers that may be given to this example, if the task has no fixed labels.
    """

    example_id: str
    inputs: tuple[str, ...]
    label: str
    explanations: tuple[str, ...]
    choices: tuple[str, ...] = ()

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of texts and label; ids differ between file formats."""
        choices = (str(len(self.choices)), *self.choices) if self.choices else ()
        parts = (*self.inputs, *choices, self.label, *self.explanations)
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
