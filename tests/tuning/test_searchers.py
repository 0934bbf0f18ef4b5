from types import SimpleNamespace
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils import flatten_dict

from tests.records.made import (
    METRICS,
    evaluation_record,
    history,
    resolved,
    run_record,
    study_of,
    trials_of,
)
from tune_distill.records.places import Folder
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.profile import Train
from tune_distill.spec.settings import domains
from tune_distill.spec.study import Asha, Study
from tune_distill.tuning.journal import search_storage
from tune_distill.tuning.plan_search import Trainings
from tune_distill.tuning.searchers import (
    StoredOptunaSearch,
    asha,
    ask_again,
    earlier_search,
    tell_ended,
)

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
LEARNING_RATE = study_of(
    {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2}},
    search={"method": "optuna", "num_samples": 12},
    metric={"name": "eval_loss", "mode": "min"},
)
ASHA = Asha(type="asha", grace_fraction=0.25, reduction_factor=2)
# 160 examples in batches of 8: 20 steps, with rungs at 5, 10 and 20.
TRAIN = Train(batch_size=8, num_epochs=1)


def last_result(step: int, eval_loss: float, metrics: Any = None) -> dict[str, Any]:
    """A trial's last result as Tune gives it to searchers: done, ended or stopped."""
    result = {"step": step, "eval_loss": eval_loss, "metrics": metrics or {}, "done": True}
    return flatten_dict(result)


TRIAL = trials_of()[0]
COMPLETE = TrialRecord(
    TRIAL, "complete", True, None, run_record(TRIAL), evaluation_record(), history(None, 1.25)
)
DONE = last_result(20, 1.25, METRICS)
PRUNED = last_result(10, 3.0)


class TestStoredOptunaSearch:
    def test_a_run_is_never_with_two_workers(self, tmp_path):
        hot = {"decode.temperature": {"type": "uniform", "low": 0.5, "high": 1.5}}
        study = study_of(hot, search={"method": "optuna", "num_samples": 4})
        space = domains(study, resolved(study).profile)
        storage = storage_of(tmp_path)
        trainings = Trainings(lambda key: False)
        search = StoredOptunaSearch(
            study, space, 0, storage, 0, 4, [], lambda setting: "the one run", trainings
        )
        first = search.suggest("a")
        assert search.suggest("b") is None
        search.on_trial_complete("a", last_result(20, 1.0, METRICS))
        second = search.suggest("c")
        assert second["values"] != first["values"]
        # The point that had to wait was not chosen anew.
        assert len(points(tmp_path)) == 2

    def test_a_point_that_the_store_has_lost_is_chosen_again_and_no_other(self, tmp_path):
        study = study_of({"train.batch_size": [4, 8]})
        search = searching(tmp_path, study)
        for name in "ab":
            search.suggest(name)
            search.on_trial_complete(name, last_result(20, 1.0, METRICS))
        again = searching(tmp_path, study, num_earlier=2, answered=[{"train.batch_size": 4}])
        ask_again(storage_of(tmp_path), [{"train.batch_size": 8}])
        assert again.suggest("c")["values"] == {"batch_size": 8}

    def test_a_small_space_is_not_asked_for_the_same_point_twice(self, tmp_path):
        study = study_of({"train.batch_size": [4, 8, 16]})
        search = searching(tmp_path, study)
        chosen = [search.suggest(name)["values"]["batch_size"] for name in "abc"]
        assert sorted(chosen) == [4, 8, 16]

    def test_a_config_has_a_value_of_each_domain(self, tmp_path):
        study = study_of(
            {
                # 30 is not on the grid 4, 12, 20, 28.
                "train.batch_size": {"type": "int", "low": 4, "high": 30, "step": 8},
                "decode.strategy": ["greedy", "beam"],
                "data.num_train": [100, None],
                "size": {
                    "type": "cases",
                    "cases": {"few": {"train.num_epochs": 1}, "many": {"train.num_epochs": 9}},
                },
                "train.weight_decay": {"type": "uniform", "low": 0.0, "high": 0.5},
            },
            search={"method": "optuna", "num_samples": 30},
        )
        search = searching(tmp_path, study, seed=7)
        configs = [search.suggest(str(number)) for number in range(30)]
        assert {config["seed"] for config in configs} == {7}
        seen = {
            name: {config["values"][name] for config in configs} for name in configs[0]["values"]
        }
        assert seen.pop("batch_size") == {4, 12, 20, 28}
        assert all(0 <= value <= 0.5 for value in seen.pop("weight_decay"))
        assert seen == {
            "strategy": {"greedy", "beam"},
            "num_train": {100, None},
            "size": {"few", "many"},
        }
        epochs = {(c["values"]["size"], c["fields"]["train.num_epochs"]) for c in configs}
        assert epochs == {("few", 1), ("many", 9)}
        assert all("size" not in config["fields"] for config in configs)

    def test_a_log_uniform_range_is_searched_by_logarithm(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        rates = [search.suggest(str(n))["fields"]["train.learning_rate"] for n in range(40)]
        assert all(1e-5 <= rate <= 1e-2 for rate in rates)
        # A tenth of the range by value holds two thirds of it by logarithm.
        assert 16 <= sum(rate < 1e-3 for rate in rates) <= 36

    def test_results_are_told_at_training_steps_and_ends_as_what_they_are(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        for name in ("complete", "pruned", "failed", "lost", "running"):
            search.suggest(name)
        for step, loss in ((5, 3.0), (10, 2.0)):
            search.on_trial_result("complete", {"step": step, "eval_loss": loss, "done": False})
        search.on_trial_complete("complete", DONE)
        search.on_trial_result("pruned", {"step": 5, "eval_loss": 4.0, "done": False})
        # Tune tells of the result that a trial is pruned for only at its end.
        search.on_trial_complete("pruned", PRUNED)
        search.on_trial_result("failed", {"step": 5, "eval_loss": 9.0, "done": False})
        search.on_trial_complete("failed", error=True)
        search.on_trial_complete("lost")
        complete, pruned, failed, lost, running = stored(tmp_path)
        assert (complete.state, complete.value) == (TrialState.COMPLETE, 1.25)
        assert complete.intermediate_values == {5: 3.0, 10: 2.0}
        assert pruned.state == TrialState.PRUNED
        assert pruned.intermediate_values == {5: 4.0, 10: 3.0}
        assert (failed.state, failed.intermediate_values) == (TrialState.FAIL, {5: 9.0})
        assert lost.state == TrialState.FAIL
        assert running.state == TrialState.RUNNING

    def test_a_trial_that_says_why_it_failed_has_failed(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        search.suggest("a")
        search.on_trial_result("a", {"step": 5, "eval_loss": 3.0, "done": False})
        search.on_trial_complete("a", {"error": "ValueError: why", "done": True})
        (failed,) = stored(tmp_path)
        assert (failed.state, failed.intermediate_values) == (TrialState.FAIL, {5: 3.0})

    def test_a_retried_trial_reports_each_step_once(self, tmp_path, recwarn):
        search = searching(tmp_path, LEARNING_RATE)
        search.suggest("a")
        for step, loss in ((5, 3.0), (10, 2.0), (10, 2.0), (15, 1.0)):
            search.on_trial_result("a", {"step": step, "eval_loss": loss, "done": False})
        (trial,) = stored(tmp_path)
        assert trial.intermediate_values == {5: 3.0, 10: 2.0, 15: 1.0}
        assert not recwarn

    @pytest.mark.parametrize(
        ("metric", "mode", "direction"),
        [("label_accuracy", "max", "MAXIMIZE"), ("eval_loss", "min", "MINIMIZE")],
    )
    def test_the_studys_metric_is_optimised(self, tmp_path, metric, mode, direction):
        study = LEARNING_RATE.model_copy(
            update={
                "metric": LEARNING_RATE.metric.model_copy(update={"name": metric, "mode": mode})
            }
        )
        search = searching(tmp_path, study)
        search.suggest("a")
        search.on_trial_result("a", {"step": 5, "eval_loss": 3.0, "done": False})
        search.on_trial_complete("a", DONE)
        (trial,) = stored(tmp_path)
        assert trial.value == {"label_accuracy": 0.75, "eval_loss": 1.25}[metric]
        loaded = optuna.load_study(study_name="tune_distill", storage=storage_of(tmp_path))
        assert loaded.direction.name == direction

    def test_a_search_that_goes_on_draws_new_points(self, tmp_path):
        first = searching(tmp_path, LEARNING_RATE)
        drawn = [rate_of(first.suggest(str(number))) for number in range(3)]
        again = searching(tmp_path, LEARNING_RATE, num_earlier=3)
        more = [rate_of(again.suggest(str(number))) for number in range(3)]
        assert len({*drawn, *more}) == 6
        assert [point["train.learning_rate"] for point in points(tmp_path)] == [*drawn, *more]

    def test_the_same_search_draws_the_same_points(self, tmp_path):
        draws = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            search = searching(tmp_path / name, LEARNING_RATE)
            draws.append([rate_of(search.suggest(str(number))) for number in range(3)])
        assert draws[0] == draws[1]

    def test_a_good_region_is_sampled_more_than_others(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        rates = []
        for number in range(40):
            rates.append(rate_of(search.suggest(str(number))))
            search.on_trial_complete(str(number), last_result(20, rates[-1], METRICS))
        # The loss is the rate itself here: low ones are best.
        assert sum(rate < 1e-4 for rate in rates[20:]) > 12


class TestAskAgain:
    def test_a_baseline_is_asked_first_of_a_search_that_has_not_begun(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        ask_again(storage_of(tmp_path), [{"train.learning_rate": 2e-3}])
        assert rate_of(search.suggest("a")) == 2e-3
        assert rate_of(search.suggest("b")) != 2e-3

    def test_a_point_left_running_is_asked_exactly_once(self, tmp_path):
        left = searching(tmp_path, LEARNING_RATE).suggest("a")
        for _ in range(2):
            searching(tmp_path, LEARNING_RATE, num_earlier=1)
            ask_again(storage_of(tmp_path), points(tmp_path))
        states = [trial.state for trial in stored(tmp_path)]
        assert states == [TrialState.FAIL, TrialState.WAITING]
        search = searching(tmp_path, LEARNING_RATE, num_earlier=1)
        assert search.suggest("b") == left
        assert search.suggest("c") != left
        assert len(points(tmp_path)) == 2
        assert points(tmp_path)[0] == {"train.learning_rate": rate_of(left)}

    def test_every_point_comes_before_new_ones(self, tmp_path):
        first = searching(tmp_path, LEARNING_RATE)
        left = [first.suggest(name) for name in "abc"]
        first.on_trial_complete("b", DONE)
        search = searching(tmp_path, LEARNING_RATE, num_earlier=3)
        ask_again(storage_of(tmp_path), [points(tmp_path)[0], points(tmp_path)[2]])
        assert [search.suggest(name) for name in "de"] == [left[0], left[2]]
        assert search.suggest("f") not in left
        # A finished trial stays as it was.
        assert stored(tmp_path)[1].state == TrialState.COMPLETE

    def test_names_of_cases_and_null_are_asked_again(self, tmp_path):
        study = study_of(
            {
                "data.num_train": [None],
                "size": {"type": "cases", "cases": {"few": {"train.num_epochs": 1}}},
            },
            search={"method": "optuna", "num_samples": 1},
        )
        left = searching(tmp_path, study).suggest("a")
        search = searching(tmp_path, study, num_earlier=1)
        ask_again(storage_of(tmp_path), points(tmp_path))
        assert search.suggest("b") == left
        assert points(tmp_path) == [{"data.num_train": None, "size": "few"}]


class TestTellEnded:
    POINT: ClassVar = {"train.learning_rate": 1e-3}

    def told(self, folder, study: Study, record: TrialRecord, point=None) -> None:
        space = domains(study, resolved(study).profile)
        point = point or self.POINT
        tell_ended(storage_of(folder), space, study.metric.name, [(point, record)])

    def test_a_trial_that_another_study_made_is_one_of_the_search(self, tmp_path):
        searching(tmp_path, LEARNING_RATE)
        for _ in range(2):
            self.told(tmp_path, LEARNING_RATE, COMPLETE)
        (trial,) = stored(tmp_path)
        assert (trial.state, trial.value, trial.params) == (TrialState.COMPLETE, 1.25, self.POINT)
        assert trial.intermediate_values == {20: 1.25}
        assert earlier_search(Folder(tmp_path), "search").num_chosen == 1

    def test_what_the_search_asked_for_itself_is_left_alone(self, tmp_path):
        search = searching(tmp_path, LEARNING_RATE)
        point = {"train.learning_rate": rate_of(search.suggest("a"))}
        search.on_trial_complete("a", DONE)
        self.told(tmp_path, LEARNING_RATE, COMPLETE, point)
        assert len(stored(tmp_path)) == 1

    def test_a_pruned_one_says_how_far_it_came(self, tmp_path):
        searching(tmp_path, LEARNING_RATE)
        record = TrialRecord(TRIAL, "pruned", True, history=history(3.0, None, 2.0))
        self.told(tmp_path, LEARNING_RATE, record)
        (trial,) = stored(tmp_path)
        assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {10: 3.0, 30: 2.0})

    @pytest.mark.parametrize(
        ("metric", "state", "value"),
        [("label_accuracy", TrialState.COMPLETE, 0.75), ("grounding", TrialState.FAIL, None)],
    )
    def test_a_metric_that_comes_last_has_no_reports(self, tmp_path, metric, state, value):
        study = study_of(
            {
                "train.learning_rate": {"type": "uniform", "low": 0.0001, "high": 0.1},
                "size": {"type": "cases", "cases": {"few": {"train.num_epochs": 1}}},
                "data.num_train": [100, None],
                "train.batch_size": {"type": "int", "low": 4, "high": 30, "step": 8},
            },
            search={"method": "optuna", "num_samples": 3},
            metric={"name": metric},
        )
        searching(tmp_path, study)
        point = {**self.POINT, "size": "few", "data.num_train": None, "train.batch_size": 12}
        self.told(tmp_path, study, COMPLETE, point)
        (trial,) = stored(tmp_path)
        assert (trial.state, trial.value, trial.intermediate_values) == (state, value, {})
        # It is spent all the same, and not asked for again.
        assert points(tmp_path) == [point]


class TestStoredPoints:
    def test_without_a_journal_there_are_none(self, tmp_path):
        assert points(tmp_path) == []
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_journal_has_none(self, tmp_path):
        (tmp_path / "search").mkdir()
        (tmp_path / "search" / "optuna.journal").touch()
        assert points(tmp_path) == []

    def test_each_point_is_there_once(self, tmp_path):
        search = searching(
            tmp_path,
            study_of({"train.num_epochs": [1, 2]}, search={"method": "optuna", "num_samples": 9}),
        )
        for number in range(9):
            search.suggest(str(number))
        values = [point["train.num_epochs"] for point in points(tmp_path)]
        assert sorted(values) == [1, 2]


class TestAsha:
    GOOD = (2.0, 1.5, 1.0, 0.9)

    def test_earlier_trials_prune_a_bad_newcomer_at_its_first_rung(self):
        scheduler = scheduler_after(self.GOOD, self.GOOD)
        assert told(scheduler, "new", (4, 9.0)) == CONTINUE
        assert told(scheduler, "new", (5, 9.0)) == STOP

    def test_a_good_newcomer_goes_on(self):
        scheduler = scheduler_after(self.GOOD, (5.0, 5.0, 5.0, 5.0))
        for step, loss in ((5, 1.9), (10, 1.4), (15, 1.0)):
            assert told(scheduler, "new", (step, loss)) == CONTINUE

    def test_without_earlier_trials_the_first_goes_on(self):
        assert told(scheduler_after(), "new", (5, 9.0)) == CONTINUE

    def test_rows_between_evaluations_are_passed_over(self):
        scheduler = scheduler_after((None, 1.5, None, 0.9))
        # Nothing was known at step 5, but at step 10.
        assert told(scheduler, "new", (5, 9.0)) == CONTINUE
        assert told(scheduler, "new", (10, 9.0)) == STOP

    def test_a_pruned_trial_counts_at_the_rungs_it_reached(self):
        scheduler = scheduler_after((2.0,), (1.0,))
        assert told(scheduler, "new", (5, 9.0)) == STOP
        assert told(scheduler, "other", (10, 9.0)) == CONTINUE

    def test_the_last_step_does_not_end_a_good_trial(self):
        scheduler = scheduler_after(self.GOOD)
        for step, loss in ((5, 1.0), (10, 0.8), (20, 0.5)):
            assert told(scheduler, "new", (step, loss)) == CONTINUE
        result = {"step": 20, "label_accuracy": 0.1}
        assert scheduler.on_trial_result(None, SimpleNamespace(trial_id="new"), result) == CONTINUE

    def test_a_trial_that_passed_its_rung_is_not_judged_there_again(self):
        scheduler = scheduler_after(self.GOOD)
        assert told(scheduler, "new", (5, 1.0)) == CONTINUE
        assert told(scheduler, "new", (8, 9.0)) == CONTINUE

    @pytest.mark.parametrize("num_train", [1, 2, 8, 9, 1000])
    def test_any_length_of_training_has_a_first_rung(self, num_train):
        scheduler = asha(ASHA, LEARNING_RATE, num_train, TRAIN, [], nothing)
        assert told(scheduler, "new", (1, 9.0)) == CONTINUE

    def test_the_baseline_is_judged_and_spared(self):
        scheduler = asha(
            ASHA,
            LEARNING_RATE,
            160,
            TRAIN,
            [history(*self.GOOD, step=5)],
            lambda config: config["name"] == "baseline",
        )
        assert told(scheduler, "baseline", (5, 9.0)) == CONTINUE
        assert told(scheduler, "other", (5, 9.5)) == STOP
        # Its loss stands at the rung all the same, and what is better than the median passes.
        assert told(scheduler, "third", (5, 5.0)) == CONTINUE

    def test_where_more_is_better_the_low_ones_are_pruned(self):
        study = study_of({"train.num_epochs": [1, 2]})
        scheduler = asha(ASHA, study, 160, TRAIN, [], nothing)
        for name, value in (("a", 0.8), ("b", 0.9)):
            tell(scheduler, name, {"step": 5, "label_accuracy": value})
        assert tell(scheduler, "c", {"step": 5, "label_accuracy": 0.1}) == STOP
        assert tell(scheduler, "d", {"step": 5, "label_accuracy": 0.95}) == CONTINUE


def rate_of(config: dict[str, Any]) -> float:
    return config["values"]["learning_rate"]


def searching(
    folder, study: Study, seed: int = 0, num_earlier: int = 0, answered=()
) -> StoredOptunaSearch:
    space = domains(study, resolved(study).profile)
    return StoredOptunaSearch(
        study,
        space,
        seed,
        storage_of(folder),
        num_earlier,
        100,
        answered,
        lambda setting: repr(setting.fields),
        Trainings(lambda key: False),
    )


def points(folder) -> list[dict[str, Any]]:
    return earlier_search(Folder(folder), "search").points


def storage_of(folder) -> optuna.storages.BaseStorage:
    return search_storage(Folder(folder), "search")


def stored(folder) -> list[optuna.trial.FrozenTrial]:
    """The trials as any reader of the journal sees them."""
    return optuna.load_study(study_name="tune_distill", storage=storage_of(folder)).trials


def scheduler_after(*losses: tuple[float | None, ...]) -> Any:
    """ASHA that has seen trials with these losses at steps 5, 10, 15 and 20."""
    earlier = [history(*row, step=5) for row in losses]
    return asha(ASHA, LEARNING_RATE, 160, TRAIN, earlier, nothing)


def nothing(config: Any) -> bool:
    """Spares no trial."""
    return False


def told(scheduler: Any, name: str, report: tuple[int, float]) -> str:
    """What the scheduler decides of a trial that reports this step and loss."""
    return tell(scheduler, name, {"step": report[0], "eval_loss": report[1]})


def tell(scheduler: Any, name: str, result: dict[str, Any]) -> str:
    trial = SimpleNamespace(trial_id=name, config={"name": name})
    if name not in scheduler._trial_info:
        scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, result)
