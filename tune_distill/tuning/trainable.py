"""The Tune trainable, each step of which runs a trial to its next progress report."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from tune_distill.records.places import Place
from tune_distill.records.store import Store
from tune_distill.spec.plan import Identities, Plan, ResolvedStudy, Trial
from tune_distill.spec.redaction import one_line
from tune_distill.spec.settings import Setting
from tune_distill.training.inputs import Inputs

if TYPE_CHECKING:
    from tune_distill.training.trial import Progress


_STANDARD_ERROR = 2


def trial_config(trial: Trial) -> dict[str, Any]:
    """Return the config that identifies a Tune trial."""
    named = {"study": trial.study, "trial_id": trial.trial_id, "seed": trial.seed}
    return {**named, "values": dict(trial.setting.values), "fields": dict(trial.setting.fields)}


@dataclass(frozen=True)
class Context:
    """What workers need besides their inputs. `place` is the store's, as workers reach it.

    `planned` has the plans' trials by study and id. Points that Optuna chooses later are in no
    plan, so their trials are made from Tune's config and the study.
    """

    studies: Mapping[str, ResolvedStudy]
    planned: Mapping[tuple[str, str], Trial]
    place: Place
    num_threads: int
    time_limit_s: float | None = None

    @classmethod
    def of(
        cls, plans: Iterable[Plan], place: Place, num_threads: int, time_limit_s: float | None
    ) -> Context:
        """Return the context of workers that run what these plans have left."""
        plans = list(plans)
        studies = {plan.resolved.study.name: plan.resolved for plan in plans}
        planned = {(t.study, t.trial_id): t for plan in plans for t in plan.pending}
        return cls(studies, planned, place, num_threads, time_limit_s)

    def trial(self, config: Mapping[str, Any], identities: Identities) -> Trial:
        """Return the trial that a Tune config identifies."""
        found = self.planned.get((config["study"], config["trial_id"]))
        if found is not None:
            return found
        setting = Setting(config["values"], config["fields"])
        return self.studies[config["study"]].trial(setting, config["seed"], identities)


class _Messages(logging.Handler):
    """Collects the package's warnings in a worker, to show them in the driver."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class StudyTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs trials one after the other in a worker, which goes on after a failed trial.

    An exception inside a trial is deterministic, so it ends the trial instead of being retried.
    Tune handles only the death of the process: it starts the trial again in another one.
    """

    _progress: Iterator[Progress]

    def setup(self, config: dict[str, Any], context: Context, inputs: Inputs) -> None:
        if not ray.get_runtime_context().get_accelerator_ids()["GPU"]:
            # Ray does not hide the node's GPUs from a worker without one.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._context, self._inputs = context, inputs
        self._messages = _Messages()
        logging.getLogger("tune_distill").addHandler(self._messages)
        self._begin(config)
        _import_science()

    def step(self) -> dict[str, Any]:
        try:
            with ended_at(self._deadline()):
                return self._result(next(self._progress))
        except Exception as error:
            if "CUDA error" in str(error):
                # After a CUDA error, this process cannot use its GPU any more: Tune starts a new
                # one.
                raise
            return {"error": one_line(error), "messages": self._take_messages(), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing for Tune: `run_trial` keeps its checkpoints in the store."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def attempt(self, config: Mapping[str, Any]) -> Iterator[Progress]:
        """Return the progress reports of the config's trial, resumed from its checkpoint."""
        # The driver imports this module too, and computes nothing.
        from tune_distill.students.process import configure_torch
        from tune_distill.training.trial import run_trial

        context = self._context
        # Set threads for each trial, because a resumed trial changes them to its original number.
        configure_torch(context.num_threads)
        trial = context.trial(config, self._inputs)
        yield from run_trial(trial, self._inputs, Store(context.place))

    def _begin(self, config: dict[str, Any]) -> None:
        self._num_reported = 0
        self._ends_s: float | None = None
        self._progress = self.attempt(config)

    def _deadline(self) -> float | None:
        """Return when the attempt's time since its first step is over, by the monotonic clock."""
        if self._ends_s is None and self._context.time_limit_s is not None:
            self._ends_s = time.monotonic() + self._context.time_limit_s
        return self._ends_s

    def _result(self, progress: Progress) -> dict[str, Any]:
        num_before, self._num_reported = self._num_reported, len(progress.history)
        return {
            "step": progress.step,
            "num_steps": progress.num_steps,
            "eval_loss": progress.eval_loss,
            # A new attempt starts with the whole history.
            "num_rows_before": num_before,
            "new_rows": [asdict(row) for row in progress.history[num_before:]],
            "resumed_step": progress.resumed_step,
            "trained": progress.trained,
            "metrics": progress.metrics or {},
            "messages": self._take_messages(),
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "done": progress.done,
        }

    def _take_messages(self) -> list[str]:
        messages, self._messages.lines = self._messages.lines, []
        return messages


def _import_science() -> None:
    """Import the libraries of trials when a worker starts, so that no trial's time includes it."""
    importlib.import_module("tune_distill.training.trial")


@contextmanager
def ended_at(deadline_s: float | None) -> Iterator[None]:
    """End the process if the block has not ended at the deadline, even if it hangs in C code.

    faulthandler's own thread ends it, because C code may never release the interpreter's lock.
    """
    if deadline_s is None:
        yield
        return
    left_s = max(0.001, deadline_s - time.monotonic())
    # Ray writes the standard error to the worker's log.
    faulthandler.dump_traceback_later(left_s, exit=True, file=_STANDARD_ERROR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
