"""Queues and pruning in Tune's interfaces: one search and one scheduler for all studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_distill.planning.halving import Halving
from tune_distill.planning.queue import Queues
from tune_distill.records.trials import TrialState
from tune_distill.spec.plan import Trial
from tune_distill.tuning.trainable import trial_config


class TuneSearch(Searcher):  # type: ignore[misc]
    """Passes a queue's trials to Tune, and reports their results to the queue.

    `metric_of` returns the name of the metric that a trial's study is judged by.
    """

    def __init__(self, queues: Queues, metric_of: Callable[[Trial], str]) -> None:
        super().__init__()
        self._queues, self._metric_of = queues, metric_of
        self._handed_out: dict[str, Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles searches for its own restore, which we do not use.
        return {}

    def trial(self, trial_id: str) -> Trial:
        """Return our trial behind Tune's trial of this id."""
        return self._handed_out[trial_id]

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._queues.next()
        if isinstance(trial, Trial):
            self._handed_out[trial_id] = trial
            return trial_config(trial)
        return None if trial == "wait" else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "step" in result:
            trial = self._handed_out[trial_id]
            self._queues.reported(trial, result["step"], result["eval_loss"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self._handed_out[trial_id]
        state, value = _end(result, error, self._metric_of(trial))
        if state == "pruned":
            # Tune does not pass searchers the result for which a trial is pruned.
            self.on_trial_result(trial_id, result or {})
        self._queues.ended(trial, state, value)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the store resumes studies."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the store resumes studies."""


class TuneScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops the trials that their study's `Halving` stops."""

    def __init__(self, halvings: Mapping[str, Halving], search: TuneSearch) -> None:
        super().__init__()
        self._halvings, self._search = halvings, search

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles schedulers too, but ours may refer to objects that cannot be pickled.
        return {}

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stops = self._stops(trial.trial_id, result)
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # Record its last loss at the last rung, because other trials are compared with it.
        self._stops(trial.trial_id, result)

    def _stops(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        trial = self._search.trial(trial_id)
        halving = self._halvings.get(trial.study)
        if halving is None or result.get("eval_loss") is None:
            return False
        return halving.stops(trial.run_key, result["step"], result["eval_loss"])


def _end(
    result: Mapping[str, Any] | None, error: bool, metric: str
) -> tuple[TrialState, float | None]:
    """Return a trial's state and metric from its last result, which Tune flattens for searchers."""
    if error or not result or "error" in result:
        return "failed", None
    # Tune also marks pruned trials as done.
    if not any(name.startswith("metrics/") for name in result):
        return "pruned", None
    return "complete", result.get(f"metrics/{metric}", result.get(metric))
