"""Runs the trials that plans have left on Ray Tune, and ends each as a record."""

from __future__ import annotations

import logging
import signal
from concurrent.futures import Future

from ray import tune

from tune_distill.planning.ledger import Ledger
from tune_distill.planning.queue import Queues
from tune_distill.planning.queues import halvings_of, queues_of
from tune_distill.planning.resources import TrialResources
from tune_distill.planning.work import Work
from tune_distill.records.leftovers import scratch
from tune_distill.records.places import Place
from tune_distill.records.trials import INTERRUPTED
from tune_distill.spec.redaction import one_line
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.alive import RayLostError
from tune_distill.tuning.compat import recovering
from tune_distill.tuning.signals import signals_kept
from tune_distill.tuning.trainable import Context, StudyTrainable
from tune_distill.tuning.tune_search import TuneScheduler, TuneSearch
from tune_distill.tuning.watcher import Watcher

logger = logging.getLogger(__name__)


def run_on_tune(
    work: Work,
    prepared: Future[Inputs],
    place: Place,
    resources: TrialResources,
    trainable: type[StudyTrainable] = StudyTrainable,
) -> bool:
    """Run what the work's plans have left; return whether an error ended it early.

    Trials of the first study start before those of the next, and as many run at once as there are
    workers. `prepared` is the future of the workers' inputs; `place` is the store's place as
    workers reach it. If the driver cannot go on, for example because the store refuses a search's
    journal or Ray has ended, the remaining trials fail with this reason.

    Raises:
        KeyboardInterrupt: Ctrl-C came. Trials that were running have checkpoints, and have failed
            as interrupted.
        Exception: the inputs cannot be prepared; then no trial has begun.
    """
    read_by_workers = prepared.result()
    queues, ledger = queues_of(work), Ledger(work)
    search = TuneSearch(Queues(queues), work.metric)
    work.display.begin(work.plans, resources.max_concurrent)
    context = Context.of(work.plans, place, resources.num_threads, work.limits.time_limit_s)
    why_left, failed, interrupted = INTERRUPTED, True, False
    watcher = Watcher(ledger, search, work.limits, resources)
    own_handler = signal.getsignal(signal.SIGINT)
    with scratch() as folder:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, context=context, inputs=read_by_workers),
                {"cpu": resources.cpus, "gpu": resources.gpus, "memory": resources.memory},
            ),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=TuneScheduler(halvings_of(work), search),
                num_samples=sum(plan.num_to_run for plan in work.plans),
                max_concurrent_trials=resources.max_concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name="study",
                callbacks=[watcher],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=work.limits.max_retries),
                # run_trial keeps its own checkpoints in the store.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            # Tune leaves its signal handlers behind.
            with recovering(), signals_kept():
                tuner.fit()
                # Tune's handler catches the first Ctrl-C, and then restores the former handler.
                now = signal.getsignal(signal.SIGINT)
                interrupted = now == own_handler != watcher.tunes_handler
            failed = False
        except KeyboardInterrupt:
            # A second Ctrl-C came before Tune had ended.
            interrupted = True
        except RayLostError as error:
            error.keep_all()
            why_left = str(error)
            logger.error("%s: %s", " ".join(context.studies), why_left)
        except Exception as error:
            # Either our own error, or one that Tune has wrapped with a traceback.
            why_left = f"the driver could not go on: {_last_line(error)}"
            logger.error("%s: %s", " ".join(context.studies), why_left)
    all_ended = ledger.finish(queues, why_left)
    if interrupted:
        raise KeyboardInterrupt
    return failed or not all_ended


def _last_line(error: Exception) -> str:
    if not isinstance(error, tune.TuneError):
        return one_line(error)
    return str(error).strip().splitlines()[-1].strip()[:500]
