"""A study's trials in a few lines, which the terminal shows when it ends."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from tune_distill.spec.metrics import METRICS
from tune_distill.spec.printable import printable_line

_SHOWN = (
    *((each.name, each.heading, each.form) for each in METRICS.values() if each.heading),
    ("training_time_s", "train s", ".1f"),
    ("decode_time_s", "decode s", ".1f"),
)


@dataclass(frozen=True)
class Counts:
    """How one or more studies ended. `trainings` were made now; `reused` trials needed none."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    trainings: int = 0
    reused: int = 0

    @property
    def trials(self) -> int:
        return self.complete + self.pruned + self.failed

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.complete + other.complete,
            self.pruned + other.pruned,
            self.failed + other.failed,
            self.trainings + other.trainings,
            self.reused + other.reused,
        )

    def sentence(self) -> str:
        """Return `13 trials: 13 complete, 0 pruned, 0 failed; 3 trainings, 10 reused`."""
        return (
            f"{self.trials} trials: {self.complete} complete, {self.pruned} pruned, "
            f"{self.failed} failed; {self.trainings} trainings, {self.reused} reused"
        )


def count(rows: Sequence[Mapping[str, Any]]) -> Counts:
    """Return the counts of the rows of a study's trials."""
    states = Counter(row["state"] for row in rows)
    # Trials that were made now and share a run are one training. A trial that failed before its
    # first step, or was interrupted before its turn, is not counted.
    trained = {row["run_key"] for row in rows if not row["reused"] and row["num_steps"]}
    return Counts(
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        trainings=len(trained),
        reused=sum(row["reused"] for row in rows),
    )


def summary_table(
    varied: Sequence[str], rows: Sequence[Mapping[str, Any]], width: int = 80
) -> Table:
    """Return a table of the trials, one line each, with the metrics that readers look for first.

    If the table is wider than `width`, headings wrap between words and columns move together. Two
    varied columns and the seed fit a terminal of 80.
    """
    several_seeds = len({row["seed"] for row in rows}) > 1
    names = [*varied, "seed"] if several_seeds else list(varied)
    settings = {
        printable_line(name.replace("_", " ")): [
            printable_line(setting_text(row[name])) for row in rows
        ]
        for name in names
    }
    settings["state"] = [row["state"] + ("*" if row["reused"] else "") for row in rows]
    measured = {
        heading: [_number(row[name], form) for row in rows] for name, heading, form in _SHOWN
    }
    columns = settings | measured
    wrapped = {heading: _wrapped(heading, cells) for heading, cells in columns.items()}
    shown, gap = dict(zip(columns, columns, strict=True)), 2
    if _table_width(shown, columns, gap) > width:
        shown |= {heading: wrapped[heading] for heading in settings}
    if _table_width(shown, columns, gap) > width:
        shown = wrapped
    if _table_width(shown, columns, gap) > width:
        gap = 1
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, gap - 1),
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    for heading in columns:
        justify: JustifyMethod = "right" if heading in measured else "left"
        # Text, because brackets and emoji codes in a plain string would be taken for markup.
        table.add_column(Text(shown[heading]), justify=justify, no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _wrapped(heading: str, cells: Sequence[str]) -> str:
    """Return the heading on several lines, as narrow as its longest word and the cells below it."""
    return textwrap.fill(heading, max(map(len, [*heading.split(), *cells])))


def _table_width(shown: Mapping[str, str], columns: Mapping[str, list[str]], gap: int) -> int:
    lines = ([*shown[heading].split("\n"), *cells] for heading, cells in columns.items())
    return sum(max(map(len, column)) + gap for column in lines) - gap


def footnotes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return notes on the table: the star, faithfulness' ceiling, and why metrics are absent."""
    notes = []
    if any(row["reused"] for row in rows):
        notes.append("* no training: its run was in the store")
    complete = [row for row in rows if row["state"] == "complete"]
    ceilings = {row["faithfulness_ceiling"] for row in complete} - {None}
    if ceilings:
        shown = " to ".join(f"{value:.3f}" for value in sorted({min(ceilings), max(ceilings)}))
        notes.append(
            f"faithful has a ceiling of {shown}: the simulator's accuracy on gold explanations"
        )
    absent: dict[str, list[str]] = {}
    for metric in METRICS.values():
        is_shown = metric.is_charted and metric.absent
        if is_shown and complete and all(row[metric.name] is None for row in complete):
            absent.setdefault(metric.absent, []).append(metric.name)
    notes += [
        f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} absent: {reason}"
        for reason, names in absent.items()
    ]
    return notes


def failures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each failed trial, with its reason."""
    failed = [row for row in rows if row["state"] == "failed"]
    return [printable_line(f"failed: {row['trial_id']}: {row['error']}") for row in failed]


def setting_text(value: Any) -> str:
    """Return a setting's value as a reader writes it; four digits are enough."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
