"""Searches of small spaces, and searches that several drivers share, with the real Optuna."""

from __future__ import annotations

import pytest

from tests.planning.searching import (
    LEARNING_RATE,
    asked,
    points,
    rate_of,
    replanned,
    searching,
    small,
)
from tests.records.made import INPUTS, finish, resolved
from tune_distill.planning.plans import plans
from tune_distill.planning.search_ends import SearchEnds
from tune_distill.records.trials import stored_record


class TestSmallSpaces:
    """A search of a finite space tries each point once and then ends."""

    @pytest.mark.parametrize(
        ("vary", "num_points"),
        [
            ({"train.batch_size": [8]}, 1),
            ({"train.batch_size": [8, 16]}, 2),
            ({"train.batch_size": {"type": "int", "low": 1, "high": 30}}, 30),
            ({"train.batch_size": {"type": "int", "low": 4, "high": 30, "step": 8}}, 4),
            ({"train.batch_size": [4, 8, 16], "train.num_epochs": [1, 2, 3]}, 9),
            ({"data.num_train": [100, None], "decode.strategy": ["greedy", "beam"]}, 4),
            ({"decode.temperature": [0.5, 0.7], "decode.strategy": ["sample", "greedy"]}, 3),
        ],
    )
    @pytest.mark.parametrize("metric", ["label_accuracy", "eval_loss"])
    def test_each_point_is_tried_once(self, store, vary, num_points, metric):
        mode = "min" if metric == "eval_loss" else "max"
        study = small(
            vary,
            overrides={"decode.strategy": "sample"},
            metric={"name": metric, "mode": mode},
        )
        values = asked(searching(store, study))
        assert len(values) == len({tuple(value.items()) for value in values}) == num_points
        # Another driver hands out the same points.
        assert asked(searching(store, study)) == values

    @pytest.mark.parametrize("state", ["failed", "pruned", "running"])
    def test_each_point_is_tried_once_however_its_trial_ends(self, store, state):
        study = small({"train.batch_size": [4, 8, 16]})
        search, values = searching(store, study), []
        while (trial := search.start(name := str(len(values)))) != "finished":
            values.append(trial.setting.values["batch_size"])
            if state == "failed":
                search.end(name, "failed")
            elif state == "pruned":
                search.end(name, "pruned")
        assert sorted(values) == [4, 8, 16]

    def test_points_that_round_to_the_same_trial_are_one(self, store):
        # With 10 examples few fractions differ, and they cannot be listed in advance.
        study = small(
            {"data.train_fraction": {"type": "uniform", "low": 0.1, "high": 1.0}},
            overrides={"data.num_train": 10},
        )
        values = asked(searching(store, study))
        rounded = [round(10 * value["train_fraction"]) for value in values]
        assert sorted(rounded) == list(range(1, 11))
        assert points(store, study)[-1] is None
        # The next command knows that there are no other points.
        (plan,) = plans(resolved(study), INPUTS, store)
        assert (len(plan.trials), plan.num_new) == (10, 0)

    def test_a_large_space_is_not_taken_for_exhausted(self, store):
        sizes = {"type": "int", "low": 1, "high": 60}
        study = small({"train.batch_size": sizes, "train.num_epochs": sizes}, 100)
        search = searching(store, study)
        values = []
        for number in range(100):
            values.append(search.start(str(number)).setting.values)
            # The smallest point is best, so TPE proposes it again and again.
            loss = values[-1]["batch_size"] + values[-1]["num_epochs"]
            search.end(str(number), value=-loss)
        assert len({tuple(value.items()) for value in values}) == 100


class TestTwoDrivers:
    """Drivers that share a search end with the same points, each chosen once."""

    @pytest.mark.parametrize("num_samples", [1, 2, 7, 12])
    def test_drivers_take_turns_and_have_the_same_points(self, store, num_samples):
        study = LEARNING_RATE.model_copy(
            update={"search": LEARNING_RATE.search.model_copy(update={"num_samples": num_samples})}
        )
        drivers = [searching(store, study), searching(store, study)]
        rates: list[list[float]] = [[], []]
        going = [0, 1]
        while going:
            for number in list(going):
                trial = drivers[number].start(f"{len(rates[number])}")
                if trial == "finished":
                    going.remove(number)
                else:
                    rates[number].append(rate_of(trial))
        assert sorted(rates[0]) == sorted(rates[1])
        assert len(set(rates[0])) == len(rates[0]) == num_samples
        assert len(points(store, study)) == num_samples

    def test_a_late_driver_first_takes_points_that_were_begun(self, store):
        first = searching(store, LEARNING_RATE)
        begun = [rate_of(first.start(name)) for name in "abc"]
        second = searching(store, LEARNING_RATE)
        assert [rate_of(second.start(name)) for name in "abc"] == begun
        assert rate_of(second.start("d")) not in begun

    def test_points_that_another_driver_ended_come_first(self, store):
        first, second = searching(store, LEARNING_RATE), searching(store, LEARNING_RATE)
        own = [rate_of(second.start(name)) for name in "ab"]
        theirs = [rate_of(first.start(name)) for name in "abc"]
        assert theirs[0] == own[0]
        assert theirs[1] not in own
        # While the second driver's other point runs, the first driver gets new points.
        plan = next(plans(resolved(LEARNING_RATE), INPUTS, store))
        trial = next(t for t in plan.trials if t.setting.values["learning_rate"] == own[1])
        assert rate_of(first.start("d")) != own[1]
        finish(store, trial)
        SearchEnds(plan, store).settle(stored_record(trial, replanned(store), store))
        assert rate_of(first.start("e")) == own[1]

    def test_small_spaces_are_shared_too(self, store):
        study = small({"train.batch_size": [1, 2, 4, 8, 16]})
        drivers = [searching(store, study), searching(store, study)]
        sizes = [sorted(value["batch_size"] for value in asked(driver)) for driver in drivers]
        assert sizes == [[1, 2, 4, 8, 16]] * 2

    def test_a_driver_that_asks_for_fewer_has_the_first_points(self, store):
        narrow = LEARNING_RATE.model_copy(
            update={"search": LEARNING_RATE.search.model_copy(update={"num_samples": 3})}
        )
        wide = searching(store, LEARNING_RATE)
        rates = [rate_of(wide.start(str(number))) for number in range(6)]
        assert [value["learning_rate"] for value in asked(searching(store, narrow))] == rates[:3]
