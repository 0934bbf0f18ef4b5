"""The two column layouts of e-SNLI, and the rows of a file that has one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tune_distill.records.examples import LABELS
from tune_distill.spec.errors import DataError

ID = "pairID"

_EXPLANATIONS = ("explanation_1", "explanation_2", "explanation_3")
_HUB = ("premise", "hypothesis", "label", *_EXPLANATIONS)
_AUTHORS = ("Sentence1", "Sentence2", "gold_label", *map(str.capitalize, _EXPLANATIONS))

KNOWN = (ID, *_AUTHORS, *_HUB)
"""Every column that may be read; others are ignored."""

_SHOWN_NAMES, _SHOWN_LENGTH = 12, 40


@dataclass(frozen=True)
class Layout:
    """Columns of a file by what they hold. `explanations` are those that are there, in order."""

    premise: str
    hypothesis: str
    label: str
    explanations: tuple[str, ...]
    pair_id: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in the order in which rows hold their cells, the id last."""
        first = (self.premise, self.hypothesis, self.label, *self.explanations)
        return first if self.pair_id is None else (*first, self.pair_id)


@dataclass(frozen=True)
class Table:
    """What is read of one file, or of one split of a hub set.

    `rows` gives each row's number, which `unit` ("line" or "row") counts, and its cells in the
    order of `layout.names`. `label_names` are the labels that the numbers 0, 1 and 2 stand for.
    """

    where: str
    unit: str
    layout: Layout
    rows: Iterable[tuple[int, Sequence[Any]]]
    label_names: tuple[str, ...] = LABELS

    def place(self, number: int) -> str:
        """Where a row is, as messages name it."""
        return f"{self.where} {self.unit} {number}"


def layout_of(names: Sequence[str], where: str) -> Layout:
    """The layout of a file with these columns; the authors' if it has both.

    Raises:
        DataError: it has neither, or a column of its layout twice.
    """
    for premise, hypothesis, label, *others in (_AUTHORS, _HUB):
        explanations = tuple(name for name in others if name in names)
        if {premise, hypothesis, label} <= set(names) and explanations:
            pair_id = ID if ID in names else None
            found = Layout(premise, hypothesis, label, explanations, pair_id)
            _require_once(found, names, where)
            return found
    raise DataError(
        f"{where}: must have the columns Sentence1, Sentence2, gold_label, Explanation_1 "
        f"(or premise, hypothesis, label, explanation_1), got {_listing(names)}"
    )


def _require_once(layout: Layout, names: Sequence[str], where: str) -> None:
    twice = [name for name in layout.names if list(names).count(name) > 1]
    if twice:
        raise DataError(f"{where}: a column must be there once, got {twice[0]} twice; rename one")


def _listing(names: Sequence[str]) -> str:
    """The names as a message shows them: a file without a header has texts in their place."""
    cut = [name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}..." for name in names]
    more = ", ..." if len(cut) > _SHOWN_NAMES else ""
    return ", ".join(cut[:_SHOWN_NAMES]) + more if cut else "none"
