"""The events of running studies, and the port for displays that receive them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial


@dataclass(frozen=True)
class Report:
    """The progress of an attempt at a trial, and the process that runs it.

    `node` is the id of Ray's node, or this machine's name without Ray. `train_loss` is that of the
    last row of the history. `resumed_step` is the step of the checkpoint from which the attempt
    resumed, 0 without one.
    """

    step: int
    num_steps: int
    eval_loss: float | None
    resumed_step: int
    node: str
    pid: int
    train_loss: float | None = None


AllEnded = Callable[[Plan, list[TrialRecord]], None]
"""Called with a plan whose trials have all ended, and their records in any order."""


class Display:
    """Shows studies while they run. Every method returns at once, and by default does nothing."""

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        """Show that these plans start, with `num_workers` trials at once."""

    def started(self, trial: Trial) -> None:
        """Show that the trial starts for the first time."""

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        """Show that the trial lost its worker for this reason, and will start again."""

    def progressed(self, trial: Trial, report: Report) -> None:
        """Show the trial's progress."""

    def ended(self, record: TrialRecord) -> None:
        """Show that the trial is complete, pruned or failed."""

    def close(self) -> None:
        """Restore the terminal; no further events come."""
