"""What a running study tells whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial


@dataclass(frozen=True)
class Report:
    """Where an attempt at a trial stands, and the process that makes it.

    `node` is the id of Ray's node, or this machine's name where Ray does not run.

    `train_loss` is that of the last row of the history. `resumed_step` is the step of the
    checkpoint that the attempt went on from, 0 without one.
    """

    step: int
    num_steps: int
    eval_loss: float | None
    resumed_step: int
    node: str
    pid: int
    train_loss: float | None = None


AllEnded = Callable[[Plan, list[TrialRecord]], None]
"""Hears of a plan whose trials have all ended, and of their records, in no particular order."""


class Display(Protocol):
    """Shows studies while they run. Every method returns at once."""

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        """These plans start, with so many trials at once."""

    def started(self, trial: Trial) -> None:
        """The trial starts for the first time."""

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        """The trial lost its worker, and another one will have it: so often by now, and why."""

    def progressed(self, trial: Trial, report: Report) -> None:
        """The trial has come so far."""

    def ended(self, record: TrialRecord) -> None:
        """The trial is complete, pruned or failed."""

    def close(self) -> None:
        """Nothing more comes; the terminal is as it was."""
