"""The executor that runs trials in this process, one after the other, without Ray."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator

from tune_distill.planning.events import Report
from tune_distill.planning.halving import Halving
from tune_distill.planning.ledger import Ledger, one_line
from tune_distill.planning.queue import Queues
from tune_distill.planning.queues import halvings_of, queues_of
from tune_distill.planning.resources import Nodes, ResourceRequest
from tune_distill.planning.work import Work, resources_for
from tune_distill.records.trials import INTERRUPTED
from tune_distill.spec.plan import Trial
from tune_distill.students.machine import num_gpus
from tune_distill.students.process import torch_configured
from tune_distill.training.trial import Progress, run_trial

logger = logging.getLogger(__name__)


class InlineExecutor:
    """Runs trials in this process: for a debugger, for tests, and where Ray cannot run.

    A trial gets the threads and the GPU that Ray would give it, so its numbers are the same. It
    cannot be ended from outside: limits of time and of retries do not apply.
    """

    def __init__(self, request: ResourceRequest | None = None) -> None:
        self._request = request or ResourceRequest()

    def nodes(self) -> Nodes:
        """Return the resources of this machine, as Ray would count them."""
        return [{"CPU": float(os.cpu_count() or 1), "GPU": float(num_gpus())}]

    def run(self, work: Work) -> bool:
        """Run what the work's plans have left; return whether it ended early.

        Raises:
            Exception: the inputs cannot be prepared.
        """
        resources = resources_for(work.known, self.nodes(), self._request)
        work.prepare()
        queues, ledger = queues_of(work), Ledger(work)
        work.display.begin(work.plans, 1)
        why_left = INTERRUPTED
        try:
            together, halvings = Queues(queues), halvings_of(work)
            # Nothing ever waits for a run here: no other trial is training it.
            while isinstance(trial := together.next(), Trial):
                with torch_configured(resources.num_threads):
                    _run_trial(trial, together, halvings.get(trial.study), ledger, work)
        except KeyboardInterrupt:
            logger.debug("interrupted")
        except Exception as error:
            # A store that refuses a search's journal, say.
            why_left = f"the driver could not go on: {one_line(error)}"
            logger.error("%s", why_left)
        ended = [
            ledger.finish(plan, queue, why_left)
            for plan, queue in zip(work.plans, queues, strict=True)
        ]
        return not all(ended)

    def close(self) -> None:
        """Nothing was started."""


def _run_trial(
    trial: Trial, queues: Queues, halving: Halving | None, ledger: Ledger, work: Work
) -> None:
    """Run the trial to its end, of which queues and ledger are told."""
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
