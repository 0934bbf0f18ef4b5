"""The executor that runs trials in this process, one after the other, without Ray."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator

from tune_distill.planning.events import Report
from tune_distill.planning.halving import Halving
from tune_distill.planning.ledger import Ledger
from tune_distill.planning.queue import Queues
from tune_distill.planning.queues import halvings_of, queues_of
from tune_distill.planning.resources import Nodes, ResourceRequest
from tune_distill.planning.work import Work, resources_for
from tune_distill.records.trials import INTERRUPTED
from tune_distill.spec.plan import Trial
from tune_distill.spec.redaction import one_line
from tune_distill.students.machine import num_cpus, num_gpus
from tune_distill.students.process import torch_configured
from tune_distill.training.trial import Progress, run_trial

logger = logging.getLogger(__name__)


class InlineExecutor:
    """Runs trials in this process: for debugging, for tests, and where Ray cannot run.

    A trial gets the same threads as with Ray, or `cpus_per_trial`, and the GPU if there is one, so
    its numbers are the same. Limits of time and retries do not apply, because a trial in this
    process cannot be killed.
    """

    def __init__(self, cpus_per_trial: float | None = None) -> None:
        self._cpus_per_trial = cpus_per_trial

    def nodes(self) -> Nodes:
        """Return the resources of this machine, as Ray would count them."""
        return [{"CPU": float(num_cpus()), "GPU": float(num_gpus())}]

    def run(self, work: Work) -> bool:
        """Run what the work's plans have left; return whether an error ended it early.

        Raises:
            KeyboardInterrupt: Ctrl-C came. Trials that had begun have ended by then.
            Exception: the inputs cannot be prepared.
        """
        work.prepare()
        request = ResourceRequest(cpus_per_trial=self._cpus_per_trial)
        resources = resources_for(work.known, self.nodes(), request)
        queues, ledger, halvings = queues_of(work), Ledger(work), halvings_of(work)
        together, why_left, failed = Queues(queues), INTERRUPTED, True
        work.display.begin(work.plans, 1)
        try:
            # Only one trial runs at a time, so the queue never answers "wait".
            while isinstance(trial := together.next(), Trial):
                with torch_configured(resources.num_threads):
                    _run_trial(trial, together, halvings.get(trial.study), ledger, work)
            failed = False
        except KeyboardInterrupt:
            ledger.finish(queues, INTERRUPTED)
            raise
        except Exception as error:
            # For example, the store refuses a search's journal, or the GPU is broken.
            why_left = f"the driver could not go on: {one_line(error)}"
            names = " ".join(plan.resolved.study.name for plan in work.plans)
            logger.error("%s: %s", names, why_left)
            logger.debug("the driver could not go on", exc_info=error)
        return not ledger.finish(queues, why_left) or failed

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _run_trial(
    trial: Trial, queues: Queues, halving: Halving | None, ledger: Ledger, work: Work
) -> None:
    """Run the trial to its end, and report it to queues and ledger."""
    ledger.start(trial.trial_id, trial)
    attempt = run_trial(trial, work.inputs, work.store)
    while True:
        progress = _step(attempt)
        if isinstance(progress, str):
            queues.ended(trial, "failed", None)
            ledger.fail(trial.trial_id, progress)
            return
        ledger.progress(trial.trial_id, progress.history, _report(progress))
        loss = progress.eval_loss
        stops = halving and loss is not None and halving.stops(trial.run_key, progress.step, loss)
        if progress.metrics is not None:
            values = {**progress.metrics, "eval_loss": loss}
            queues.ended(trial, "complete", values.get(work.metric(trial)))
            ledger.complete(trial.trial_id, progress.trained)
            return
        queues.reported(trial, progress.step, loss)
        if stops:
            queues.ended(trial, "pruned", None)
            ledger.prune(trial.trial_id)
            return


def _step(attempt: Iterator[Progress]) -> Progress | str:
    """Return the attempt's next progress, or why the trial failed."""
    try:
        return next(attempt)
    except Exception as error:
        if "CUDA error" in str(error):
            # After a CUDA error, all further calls of this process to its GPU fail.
            raise
        # An exception inside a trial is deterministic, so it ends the trial.
        return one_line(error)


def _report(progress: Progress) -> Report:
    return Report(
        progress.step,
        progress.num_steps,
        progress.eval_loss,
        progress.resumed_step,
        platform.node(),
        os.getpid(),
    )
