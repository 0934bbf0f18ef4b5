"""Several studies in one experiment: whose turn it is, and who judges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune_distill.tuning.together import ScheduleTogether, SearchTogether


class Listed(Searcher):  # type: ignore[misc]
    """Hands out what a list says; none is a trial that has to wait."""

    def __init__(self, *configs: Any) -> None:
        super().__init__()
        self.configs = list(configs)
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, trial_id: str) -> Any:
        if not self.configs:
            return Searcher.FINISHED
        return self.configs.pop(0)

    def on_trial_result(self, trial_id: str, result: Any) -> None:
        self.told.append((trial_id, result))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append((trial_id, result, error))


def test_the_first_study_goes_first_and_the_next_ones_fill_its_gaps() -> None:
    search = SearchTogether([Listed({"a": 1}, None, {"a": 2}), Listed({"b": 1}, None, {"b": 2})])
    handed = [search.suggest(str(number)) for number in range(6)]
    # The fourth time the first has nothing more, and the second waits.
    assert handed == [{"a": 1}, {"b": 1}, {"a": 2}, None, {"b": 2}, "FINISHED"]


def test_each_study_hears_of_its_own_trials() -> None:
    first, second = Listed({"a": 1}), Listed({"b": 1})
    search = SearchTogether([first, second])
    for name in ("t0", "t1"):
        search.suggest(name)
    search.on_trial_result("t1", {"step": 1})
    search.on_trial_complete("t0", error=True)
    search.on_trial_complete("t1", {"step": 2})
    assert first.told == [("t0", None, True)]
    assert second.told == [("t1", {"step": 1}), ("t1", {"step": 2}, False)]


def test_without_studies_it_is_finished() -> None:
    assert SearchTogether([]).suggest("t0") == Searcher.FINISHED


class Judge(FIFOScheduler):  # type: ignore[misc]
    """Stops whatever it hears of, and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self.told.append(f"add {trial.trial_id}")

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.told.append(f"error {trial.trial_id}")

    def on_trial_result(self, controller: Any, trial: Any, result: Any) -> str:
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, controller: Any, trial: Any, result: Any) -> None:
        self.told.append(f"complete {trial.trial_id}")

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self.told.append(f"remove {trial.trial_id}")


def test_a_scheduler_judges_its_own_study_alone() -> None:
    judge = Judge()
    scheduler = ScheduleTogether({"searched": judge})
    trials = {
        name: SimpleNamespace(trial_id=name, config={"study": name})
        for name in ("searched", "grid")
    }
    for trial in trials.values():
        scheduler.on_trial_add(None, trial)
    decisions = {
        name: scheduler.on_trial_result(None, trial, {"step": 1}) for name, trial in trials.items()
    }
    assert decisions == {"searched": TrialScheduler.STOP, "grid": TrialScheduler.CONTINUE}
    for trial in trials.values():
        scheduler.on_trial_error(None, trial)
        scheduler.on_trial_complete(None, trial, {})
        scheduler.on_trial_remove(None, trial)
    assert judge.told == ["add searched", "error searched", "complete searched", "remove searched"]


def test_tunes_own_choice_of_the_next_trial_is_kept() -> None:
    pending = SimpleNamespace(status="PENDING")
    controller = SimpleNamespace(get_trials=lambda: [SimpleNamespace(status="RUNNING"), pending])
    assert ScheduleTogether({}).choose_trial_to_run(controller) is pending
