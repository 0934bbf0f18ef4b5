"""The one Tune trainable: each step is a trial's next piece of progress."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from tune_distill.distill.inputs import Inputs
from tune_distill.records.store import Store
from tune_distill.spec.plan import ResolvedStudy, Trial
from tune_distill.spec.settings import Setting

if TYPE_CHECKING:
    from tune_distill.distill.trial import Progress


@dataclass(frozen=True)
class Context:
    """What all trials of a study share; it travels to workers through Ray's object store."""

    resolved: ResolvedStudy
    inputs: Inputs
    store_root: Path
    num_threads: int


def trial_config(setting: Setting, seed: int) -> dict[str, Any]:
    """What tells a Tune trial from the others."""
    return {"values": dict(setting.values), "fields": dict(setting.fields), "seed": seed}


def trial_of(config: Mapping[str, Any], resolved: ResolvedStudy, inputs: Inputs) -> Trial:
    """The trial that a Tune config names."""
    return resolved.trial(Setting(config["values"], config["fields"]), config["seed"], inputs)


class _Messages(logging.Handler):
    """What the package reports in a worker, whose own log nobody reads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class StudyTrainable(tune.Trainable):  # type: ignore[misc]
    """Drives `run_trial`; a worker takes one trial after the other."""

    _progress: Iterator[Progress]

    def setup(self, config: dict[str, Any], context: Context) -> None:
        self._context = context
        self._messages = _Messages()
        logging.getLogger("tune_distill").addHandler(self._messages)
        self._begin(config)

    def step(self) -> dict[str, Any]:
        return self._result(next(self._progress))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save for Tune: `run_trial` keeps its checkpoints in the store."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        # torch is imported in workers only: the driver stays light.
        from tune_distill.distill.trial import configure_torch, run_trial

        context = self._context
        # For each trial: a resumed one keeps the threads it began with, and leaves them set.
        configure_torch(context.num_threads)
        trial = trial_of(config, context.resolved, context.inputs)
        self._num_reported = 0
        self._progress = run_trial(trial, context.inputs, Store(context.store_root))

    def _result(self, progress: Progress) -> dict[str, Any]:
        new_rows = progress.history[self._num_reported :]
        self._num_reported = len(progress.history)
        messages, self._messages.lines = self._messages.lines, []
        return {
            "step": progress.step,
            "num_steps": progress.num_steps,
            "eval_loss": progress.eval_loss,
            "new_rows": [asdict(row) for row in new_rows],
            "resumed_step": progress.resumed_step,
            "trained": progress.trained,
            "metrics": progress.metrics or {},
            "messages": messages,
            "done": progress.done,
        }
