"""The order of planned trials, and which of them wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.planning.searching import Driven, Listed
from tests.records.made import study_of, trials_of
from tune_distill.planning.queue import PlannedQueue, Queues, Trainings
from tune_distill.spec.errors import StoreError
from tune_distill.spec.plan import Trial


def planned(trials: Iterable[Trial], trainings: Trainings) -> Driven:
    return Driven(PlannedQueue(trials, trainings))


def test_trainings_come_first_and_decodings_wait_for_their_run():
    trials = trials_of("temperature", num_seeds=2)
    stored: set[str] = set()
    search = planned(trials, Trainings(stored.__contains__))
    first, second = search.start("a"), search.start("b")
    assert [named(first), named(second)] == [(0.5, 0), (0.5, 1)]
    assert search.start("c") == "wait"
    stored.add(trials[1].run_key)
    search.end("b")
    # Only the second seed's student is trained.
    assert [named(search.start(name)) for name in "cde"] == [(0.7, 1), (1.0, 1), (1.2, 1)]
    assert search.start("f") == "wait"
    stored.add(trials[0].run_key)
    search.end("a")
    assert [named(search.start(name)) for name in "fgh"] == [(0.7, 0), (1.0, 0), (1.2, 0)]
    assert search.start("i") == "finished"


def test_stored_runs_are_decoded_at_once():
    trials = trials_of("temperature", num_seeds=2)
    search = planned(trials, with_run(trials[0]))
    order = [named(search.start(name)) for name in "abcde"]
    # The other seed is trained first, so that its decodings need not wait at the end.
    assert order == [(0.5, 1), (0.5, 0), (0.7, 0), (1.0, 0), (1.2, 0)]
    assert search.start("f") == "wait"


def test_trials_that_wait_for_a_failed_training_are_left_out():
    trials = trials_of("temperature", num_seeds=2)
    stored: set[str] = set()
    search = planned(trials, Trainings(stored.__contains__))
    search.start("a")
    search.start("b")
    search.end("a", "failed")
    assert [trial.setting.values["temperature"] for trial in left_out(search)] == [0.7, 1.0, 1.2]
    assert search.start("c") == "wait"
    stored.add(trials[1].run_key)
    search.end("b")
    assert [named(search.start(name)) for name in "cde"] == [(0.7, 1), (1.0, 1), (1.2, 1)]
    assert search.start("f") == "finished"


def test_trials_that_wait_for_a_pruned_training_are_left_out():
    search = planned(trials_of("temperature"), nothing_stored())
    search.start("a")
    search.report("a", 10, 3.0)
    search.end("a", "pruned")
    assert search.start("b") == "finished"


def test_a_failed_decoding_does_not_fail_others():
    trials = trials_of("temperature")
    search = planned(trials, with_run(trials[0]))
    assert named(search.start("a")) == (0.5, 0)
    search.end("a", "failed")
    assert named(search.start("b")) == (0.7, 0)


def test_a_trial_whose_decoding_failed_leaves_its_run_to_the_others():
    trials = trials_of("temperature")
    stored: set[str] = set()
    search = planned(trials, Trainings(stored.__contains__))
    assert named(search.start("a")) == (0.5, 0)
    stored.add(trials[0].run_key)
    search.end("a", "failed")
    assert [named(search.start(name)) for name in "bcd"] == [(0.7, 0), (1.0, 0), (1.2, 0)]


def test_a_store_that_fails_once_may_be_asked_again():
    answers = iter([StoreError("timed out"), True])

    def has_run(key: str) -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    (trial, *_) = trials_of()
    search = planned([trial], Trainings(has_run))
    assert search.start("t1")
    with pytest.raises(StoreError):
        search.end("t1", "failed")
    search.end("t1", "failed")
    # The trial may end once more if a later step failed.
    search.end("t1", "failed")
    assert search.start("t2") == "finished"


def test_a_queue_without_trials_is_finished():
    assert planned([], nothing_stored()).start("a") == "finished"


def test_the_longest_trainings_come_first_and_seeds_stay_in_order():
    trials = trials_of("data_size", num_seeds=2)
    search = planned(trials, nothing_stored())
    started = [search.start(str(number)) for number in range(len(trials))]
    assert [(trial.setting.values["train_fraction"], trial.seed) for trial in started] == [
        (fraction, seed) for fraction in (1.0, 0.5, 0.1) for seed in (0, 1)
    ]
    lengths = trials_of(study_of({"train.max_source_length": [16, 128, 32]}))
    search = planned(lengths, nothing_stored())
    values = [search.start(str(number)).setting.values for number in range(3)]
    assert [value["max_source_length"] for value in values] == [128, 32, 16]


def test_trials_wait_for_a_run_that_another_study_trains():
    stored: set[str] = set()
    trainings = Trainings(stored.__contains__)
    smoothing, temperature = trials_of("smoothing"), trials_of("temperature")
    shared = smoothing[1]
    assert shared.run_key == temperature[0].run_key
    first, second = planned([shared], trainings), planned(temperature, trainings)
    assert first.start("a")
    assert second.start("b") == "wait"
    stored.add(shared.run_key)
    first.end("a")
    assert [named(second.start(name)) for name in "bcde"] == [
        (temperature, 0) for temperature in (0.5, 0.7, 1.0, 1.2)
    ]


def test_a_run_that_another_study_failed_to_train_is_tried_again():
    trainings = nothing_stored()
    temperature = trials_of("temperature")
    first = planned([trials_of("smoothing")[1]], trainings)
    second = planned(temperature, trainings)
    first.start("a")
    first.end("a", "failed")
    assert named(second.start("b")) == (0.5, 0)
    assert second.start("c") == "wait"
    second.end("b", "failed")
    assert second.start("c") == "finished"


def nothing_stored() -> Trainings:
    return Trainings(lambda key: False)


def with_run(trial: Trial) -> Trainings:
    """Return Trainings in which only this trial's run is stored."""
    return Trainings(trial.run_key.__eq__, [trial.run_key])


def left_out(search: Driven) -> list[Trial]:
    assert isinstance(search.queue, PlannedQueue)
    return search.queue.left_out


def named(trial: Trial) -> tuple[Any, int]:
    """Return the temperature and the seed of a trial."""
    return trial.setting.values["temperature"], trial.seed


def test_the_first_study_goes_first_and_the_next_ones_fill_its_gaps():
    a1, a2, *_ = trials_of("smoothing")
    b1, b2, *_ = trials_of("temperature")
    queues = Queues([Listed(a1, "wait", a2), Listed(b1, "wait", b2)])
    # At the fourth call the first study is finished, and the second one waits.
    assert [queues.next() for _ in range(6)] == [a1, b1, a2, "wait", b2, "finished"]


def test_each_queue_gets_the_events_of_its_own_trials():
    first, second = Listed(trials_of("smoothing")[0]), Listed(trials_of("temperature")[0])
    queues = Queues([first, second])
    a, b = queues.next(), queues.next()
    queues.reported(b, 1, 2.0)
    queues.ended(a, "failed", None)
    queues.ended(b, "complete", 0.5)
    assert first.told == [(a.trial_id, "failed", None)]
    assert second.told == [(b.trial_id, 1, 2.0), (b.trial_id, "complete", 0.5)]


def test_no_queues_are_finished():
    assert Queues([]).next() == "finished"
