"""What a running study tells whoever shows it."""

from __future__ import annotations

from typing import Protocol

from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial


class Display(Protocol):
    """Shows a study while it runs. Every method returns at once."""

    def begin(self, plan: Plan, num_workers: int) -> None:
        """Ray is up and `plan` starts on so many workers."""

    def started(self, trial: Trial) -> None:
        """A worker has the trial."""

    def progressed(self, trial: Trial, step: int, total_steps: int, eval_loss: float) -> None:
        """The trial has trained `step` of its steps."""

    def ended(self, record: TrialRecord) -> None:
        """The trial is complete, pruned or failed."""

    def close(self) -> None:
        """Nothing more comes; the terminal is as it was."""
