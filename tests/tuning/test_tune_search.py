"""Tune's calls to its search and scheduler, and what our queues get from them."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from tests.planning.searching import Listed
from tests.records.made import METRICS, trials_of
from tune_distill.planning.queue import Queues
from tune_distill.tuning.tune_search import TuneScheduler, TuneSearch

FIRST, SECOND, *_ = trials_of("decoding")


def last_result(metrics: dict[str, Any] | None = None, eval_loss: float = 1.25) -> dict[str, Any]:
    """Return a trial's last result as Tune passes it to searchers, for ended or stopped trials."""
    result = {"step": 20, "eval_loss": eval_loss, "metrics": metrics or {}, "done": True}
    return dict(flatten_dict(result))


@pytest.fixture
def queue() -> Listed:
    return Listed(FIRST, "wait", SECOND)


def searching(queue: Listed, metric: str = "label_accuracy") -> TuneSearch:
    return TuneSearch(Queues([queue]), lambda trial: metric)


def test_tune_gets_a_config_for_each_trial_until_none_is_left(queue):
    search = searching(queue)
    assert search.suggest("t0") == {
        "study": "decoding",
        "trial_id": "strategy=greedy,seed=0",
        "values": {"strategy": "greedy"},
        "fields": {"decode.strategy": "greedy"},
        "seed": 0,
    }
    assert search.suggest("t1") is None
    assert search.suggest("t1")["trial_id"] == SECOND.trial_id
    assert search.suggest("t2") == Searcher.FINISHED
    assert (search.trial("t0"), search.trial("t1")) == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("result", "error", "state", "value"),
    [
        (last_result(METRICS), False, "complete", METRICS["label_accuracy"]),
        (last_result({**METRICS, "label_accuracy": None}), False, "complete", None),
        (last_result(METRICS), True, "failed", None),
        ({"error": "ValueError: why", "messages": [], "done": True}, False, "failed", None),
        (None, False, "failed", None),
    ],
)
def test_the_queue_gets_the_end_of_a_trial(queue, result, error, state, value):
    search = searching(queue)
    search.suggest("t0")
    search.on_trial_complete("t0", result, error)
    assert queue.told == [(FIRST.trial_id, state, value)]


def test_a_loss_is_reported_at_steps_and_at_the_end(queue):
    search = searching(queue, "eval_loss")
    search.suggest("t0")
    search.on_trial_result("t0", {"step": 10, "eval_loss": 2.0, "done": False})
    search.on_trial_complete("t0", last_result(METRICS, 1.5))
    assert queue.told == [(FIRST.trial_id, 10, 2.0), (FIRST.trial_id, "complete", 1.5)]


def test_the_result_for_which_a_trial_is_pruned_is_reported_too(queue):
    search = searching(queue, "eval_loss")
    search.suggest("t0")
    search.on_trial_complete("t0", last_result(eval_loss=3.0))
    assert queue.told == [(FIRST.trial_id, 20, 3.0), (FIRST.trial_id, "pruned", None)]


class Judge:
    """A fake Halving that stops every trial from step 10, and keeps its calls."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def stops(self, run_key: str, step: int, value: float) -> bool:
        self.told.append((run_key, step, value))
        return step >= 10


def test_a_study_without_pruning_goes_on_and_another_is_judged(queue):
    search, judge = searching(queue), Judge()
    search.suggest("t0")
    trial = SimpleNamespace(trial_id="t0")
    result = {"step": 10, "eval_loss": 9.0}
    others: Any = {"others": judge}
    going = TuneScheduler(others, search).on_trial_result(None, trial, result)
    assert (going, judge.told) == (TrialScheduler.CONTINUE, [])
    ours: Any = {"decoding": judge}
    scheduler = TuneScheduler(ours, search)
    assert scheduler.on_trial_result(None, trial, result | {"step": 5}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
    # The last loss of a complete trial counts; a failed trial has none.
    scheduler.on_trial_complete(None, trial, {"step": 20, "eval_loss": 1.0})
    scheduler.on_trial_complete(None, trial, {"error": "ValueError: why"})
    assert judge.told == [
        (FIRST.run_key, 5, 9.0),
        (FIRST.run_key, 10, 9.0),
        (FIRST.run_key, 20, 1.0),
    ]


def test_tunes_own_choice_of_the_next_trial_is_kept(queue):
    pending = SimpleNamespace(status="PENDING")
    controller = SimpleNamespace(get_trials=lambda: [SimpleNamespace(status="RUNNING"), pending])
    scheduler = TuneScheduler({}, searching(queue))
    assert scheduler.choose_trial_to_run(controller) is pending


def test_search_and_scheduler_are_pickled_as_nothing(queue):
    queue.turns.append(lambda: None)
    search = searching(queue)
    for each in (search, TuneScheduler({}, search)):
        assert vars(pickle.loads(pickle.dumps(each))) == {}
