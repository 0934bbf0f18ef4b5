"""A study's trials in a few lines: what the terminal shows when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

_SHOWN = (
    ("label_accuracy", "accuracy", ".3f"),
    ("rougeL", "ROUGE-L", ".3f"),
    ("faithfulness", "faithful", ".3f"),
    ("eval_loss", "loss", ".4f"),
    ("training_time_s", "train s", ".1f"),
    ("decode_time_s", "decode s", ".1f"),
)


@dataclass(frozen=True)
class Counts:
    """How a study, or several, ended. `trainings` were made now; `reused` trials needed none."""

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
        """`13 trials: 13 complete, 0 pruned, 0 failed; 3 trainings, 10 reused`."""
        return (
            f"{self.trials} trials: {self.complete} complete, {self.pruned} pruned, "
            f"{self.failed} failed; {self.trainings} trainings, {self.reused} reused"
        )


def count(rows: Sequence[Mapping[str, Any]]) -> Counts:
    """The counts of a study's trials rows."""
    states = Counter(row["state"] for row in rows)
    # Trials that were made now and share a run are one training.
    trained = {row["run_key"] for row in rows if not row["reused"]}
    return Counts(
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        trainings=len(trained),
        reused=sum(row["reused"] for row in rows),
    )


def summary_table(varied: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of the trials, one line each, with the metrics that a reader looks for first."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    several_seeds = len({row["seed"] for row in rows}) > 1
    names = [*varied, "seed"] if several_seeds else list(varied)
    for name in names:
        # The heading may wrap at its words; what stands below it may not.
        longest = max((len(setting_text(row[name])) for row in rows), default=1)
        table.add_column(name.replace("_", " "), min_width=longest)
    table.add_column("state", no_wrap=True, min_width=len("complete"))
    for _, heading, _ in _SHOWN:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for row in rows:
        reused = row["reused"] and row["state"] == "complete"
        state = "reused" if reused else row["state"]
        metrics = [_number(row[name], form) for name, _, form in _SHOWN]
        table.add_row(*(setting_text(row[name]) for name in names), state, *metrics)
    return table


def setting_text(value: Any) -> str:
    """A setting's value as a reader writes it: four digits are enough."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
