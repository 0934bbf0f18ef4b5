"""Which planned trial comes next, and which ones wait."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.search import Searcher
from ray.tune.utils import flatten_dict

from tests.records.made import METRICS, study_of, trials_of
from tune_distill.spec.errors import StoreError
from tune_distill.spec.plan import Trial
from tune_distill.tuning.plan_search import PlanSearch, Trainings

DONE = flatten_dict({"step": 20, "eval_loss": 1.25, "metrics": METRICS, "done": True})
PRUNED = flatten_dict({"step": 10, "eval_loss": 3.0, "metrics": {}, "done": True})


def test_trainings_come_first_and_decodings_wait_for_theirs():
    trials = trials_of("temperature", num_seeds=2)
    stored: set[str] = set()
    search = PlanSearch(trials, Trainings(stored.__contains__))
    first, second = search.suggest("a"), search.suggest("b")
    assert [named(first), named(second)] == [(0.5, 0), (0.5, 1)]
    assert search.suggest("c") is None
    stored.add(trials[1].run_key)
    search.on_trial_complete("b", DONE)
    # Only the second seed's student is there.
    assert [named(search.suggest(name)) for name in "cde"] == [(0.7, 1), (1.0, 1), (1.2, 1)]
    assert search.suggest("f") is None
    stored.add(trials[0].run_key)
    search.on_trial_complete("a", DONE)
    assert [named(search.suggest(name)) for name in "fgh"] == [(0.7, 0), (1.0, 0), (1.2, 0)]
    assert search.suggest("i") == Searcher.FINISHED


def test_a_config_names_the_setting_and_the_seed():
    trials = trials_of("decoding")
    config = PlanSearch(trials[1:2], nothing_stored()).suggest("a")
    assert config == {
        "study": "decoding",
        "values": {"strategy": "beam 2"},
        "fields": {"decode.strategy": "beam", "decode.num_beams": 2},
        "seed": 0,
    }


def test_stored_runs_are_decoded_at_once():
    trials = trials_of("temperature", num_seeds=2)
    search = PlanSearch(trials, with_run(trials[0]))
    order = [named(search.suggest(name)) for name in "abcde"]
    # The other seed is trained first, so that its decodings need not wait at the end.
    assert order == [(0.5, 1), (0.5, 0), (0.7, 0), (1.0, 0), (1.2, 0)]
    assert search.suggest("f") is None


def test_what_waits_for_a_failed_training_is_left_out():
    trials = trials_of("temperature", num_seeds=2)
    stored: set[str] = set()
    search = PlanSearch(trials, Trainings(stored.__contains__))
    search.suggest("a")
    search.suggest("b")
    search.on_trial_complete("a", error=True)
    assert [trial.setting.values["temperature"] for trial in search.left_out] == [0.7, 1.0, 1.2]
    assert search.suggest("c") is None
    stored.add(trials[1].run_key)
    search.on_trial_complete("b", DONE)
    assert [named(search.suggest(name)) for name in "cde"] == [(0.7, 1), (1.0, 1), (1.2, 1)]
    assert search.suggest("f") == Searcher.FINISHED


def test_what_waits_for_a_pruned_training_is_left_out():
    search = PlanSearch(trials_of("temperature"), nothing_stored())
    search.suggest("a")
    search.on_trial_result("a", PRUNED)
    search.on_trial_complete("a", PRUNED)
    assert search.suggest("b") == Searcher.FINISHED


def test_a_failed_decoding_takes_no_other_with_it():
    trials = trials_of("temperature")
    search = PlanSearch(trials, with_run(trials[0]))
    assert named(search.suggest("a")) == (0.5, 0)
    search.on_trial_complete("a", error=True)
    assert named(search.suggest("b")) == (0.7, 0)


def test_a_trial_whose_decoding_failed_leaves_its_run_to_the_others():
    trials = trials_of("temperature")
    stored: set[str] = set()
    search = PlanSearch(trials, Trainings(stored.__contains__))
    assert named(search.suggest("a")) == (0.5, 0)
    stored.add(trials[0].run_key)
    search.on_trial_complete("a", error=True)
    assert [named(search.suggest(name)) for name in "bcd"] == [(0.7, 0), (1.0, 0), (1.2, 0)]


def test_a_store_that_fails_once_may_be_asked_again():
    answers = iter([StoreError("timed out"), True])

    def has_run(key: str) -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    (trial, *_) = trials_of()
    search = PlanSearch([trial], Trainings(has_run))
    assert search.suggest("t1")
    with pytest.raises(StoreError):
        search.on_trial_complete("t1", {})
    search.on_trial_complete("t1", {})
    # And once more, should what follows have failed.
    search.on_trial_complete("t1", {})
    assert search.suggest("t2") == "FINISHED"


def test_without_trials_it_is_finished():
    assert PlanSearch([], nothing_stored()).suggest("a") == Searcher.FINISHED


def test_the_longest_trainings_come_first_and_seeds_stay_in_order():
    trials = trials_of("data_size", num_seeds=2)
    search = PlanSearch(trials, nothing_stored())
    configs = [search.suggest(str(number)) for number in range(len(trials))]
    assert [(config["values"]["train_fraction"], config["seed"]) for config in configs] == [
        (fraction, seed) for fraction in (1.0, 0.5, 0.1) for seed in (0, 1)
    ]
    lengths = trials_of(study_of({"train.max_source_length": [16, 128, 32]}))
    search = PlanSearch(lengths, nothing_stored())
    values = [search.suggest(str(number))["values"] for number in range(3)]
    assert [value["max_source_length"] for value in values] == [128, 32, 16]


def test_a_run_that_another_study_trains_is_waited_for_and_then_decoded_by_many():
    stored: set[str] = set()
    trainings = Trainings(stored.__contains__)
    smoothing, temperature = trials_of("smoothing"), trials_of("temperature")
    shared = smoothing[1]
    assert shared.run_key == temperature[0].run_key
    first, second = PlanSearch([shared], trainings), PlanSearch(temperature, trainings)
    assert first.suggest("a")
    assert second.suggest("b") is None
    stored.add(shared.run_key)
    first.on_trial_complete("a", DONE)
    assert [named(second.suggest(name)) for name in "bcde"] == [
        (temperature, 0) for temperature in (0.5, 0.7, 1.0, 1.2)
    ]


def test_a_run_that_another_study_failed_to_train_is_tried_once_more():
    trainings = nothing_stored()
    temperature = trials_of("temperature")
    first = PlanSearch([trials_of("smoothing")[1]], trainings)
    second = PlanSearch(temperature, trainings)
    first.suggest("a")
    first.on_trial_complete("a", error=True)
    assert named(second.suggest("b")) == (0.5, 0)
    assert second.suggest("c") is None
    second.on_trial_complete("b", error=True)
    assert second.suggest("c") == Searcher.FINISHED


def nothing_stored() -> Trainings:
    return Trainings(lambda key: False)


def with_run(trial: Trial) -> Trainings:
    """The store has this trial's run, and no other."""
    return Trainings(trial.run_key.__eq__, [trial.run_key])


def named(config: Any) -> tuple[Any, int]:
    """The temperature and the seed that a config asks for."""
    return config["values"]["temperature"], config["seed"]
