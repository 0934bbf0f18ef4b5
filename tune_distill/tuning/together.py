"""Several studies in one experiment of Tune: each keeps its own search and its own scheduler.

So no worker idles while any study has a trial for it, and none starts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher


class SearchTogether(Searcher):  # type: ignore[misc]
    """Asks one search after the other for the next trial."""

    def __init__(self, searches: Iterable[Searcher]) -> None:
        super().__init__()
        self._searches = list(searches)
        self._search_of: dict[str, Searcher] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles searches to restore them some day; the store resumes studies.
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        for search in list(self._searches):
            config: dict[str, Any] | str | None = search.suggest(trial_id)
            if config == Searcher.FINISHED:
                self._searches.remove(search)
            elif config is not None:
                self._search_of[trial_id] = search
                return config
        return None if self._searches else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._search_of[trial_id].on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._search_of[trial_id].on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store resumes studies."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class ScheduleTogether(FIFOScheduler):  # type: ignore[misc]
    """Each study's own scheduler judges its trials; those of studies without one go on."""

    def __init__(self, schedulers: Mapping[str, TrialScheduler]) -> None:
        super().__init__()
        self._schedulers, self._none = schedulers, FIFOScheduler()

    def __getstate__(self) -> dict[str, Any]:
        # As above; and what schedulers refer to, such as a terminal, may not be picklable.
        return {}

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(controller, trial)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_error(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(self._of(trial).on_trial_result(controller, trial, result))

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_remove(controller, trial)

    def _of(self, trial: Any) -> TrialScheduler:
        return self._schedulers.get(trial.config["study"], self._none)
