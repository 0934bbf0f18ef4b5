"""Which points an Optuna search asks for, and which trials ASHA stops."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.records.made import METRICS, LocalStore, finish, history, study_of
from tests.tuning.searching import (
    DONE,
    LEARNING_RATE,
    PRUNED,
    last_result,
    points,
    rate_of,
    replanned,
    searching,
    small,
)
from tune_distill.spec.profile import Train
from tune_distill.spec.study import Asha
from tune_distill.tuning.searchers import StoredOptunaSearch, asha

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
ASHA = Asha(type="asha", grace_fraction=0.25, reduction_factor=2)
# 160 examples in batches of 8: 20 steps, with rungs at 5, 10 and 20.
TRAIN = Train(batch_size=8, num_epochs=1)


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path)


class TestNewPoints:
    def test_the_baseline_is_asked_first(self, store):
        search = searching(store, LEARNING_RATE)
        assert rate_of(search.suggest("a")) == 2e-3
        assert rate_of(search.suggest("b")) != 2e-3

    def test_a_config_has_a_value_of_each_domain(self, store):
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
        search = searching(store, study)
        configs = [search.suggest(str(number)) for number in range(30)]
        assert search.suggest("more") == Searcher.FINISHED
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

    def test_a_log_uniform_range_is_searched_by_logarithm(self, store):
        search = searching(store, LEARNING_RATE)
        rates = [rate_of(search.suggest(str(n))) for n in range(40)]
        assert all(1e-5 <= rate <= 1e-2 for rate in rates)
        # A tenth of the range by value holds two thirds of it by logarithm.
        assert 16 <= sum(rate < 1e-3 for rate in rates) <= 36

    def test_the_same_search_draws_the_same_points(self, tmp_path):
        stores = [LocalStore(tmp_path / name) for name in "ab"]
        first, second = (
            [rate_of(search.suggest(str(n))) for n in range(4)]
            for search in (searching(store, LEARNING_RATE) for store in stores)
        )
        assert first == second

    def test_a_search_that_goes_on_draws_new_points(self, store):
        first = searching(store, LEARNING_RATE)
        drawn = [rate_of(first.suggest(str(number))) for number in range(3)]
        again = searching(store, LEARNING_RATE)
        more = [rate_of(again.suggest(str(number))) for number in range(6)]
        # What was left running is asked for again, and once.
        assert more[:3] == drawn
        assert len(set(more)) == 6
        assert [point["train.learning_rate"] for point in points(store, LEARNING_RATE)] == more

    def test_a_good_region_is_sampled_more_than_others(self, store):
        search = searching(store, LEARNING_RATE)
        rates = []
        for number in range(40):
            rates.append(rate_of(search.suggest(str(number))))
            search.on_trial_complete(str(number), last_result(20, rates[-1], METRICS))
        # The loss is the rate itself here: low ones are best.
        assert sum(rate < 1e-4 for rate in rates[20:]) > 12

    def test_a_run_is_never_with_two_workers(self, store):
        hot = {"decode.temperature": {"type": "uniform", "low": 0.5, "high": 1.5}}
        search = searching(store, small(hot, 4, overrides={"decode.strategy": "sample"}))
        first = search.suggest("a")
        # All decode the one run.
        assert search.suggest("b") is None
        search.on_trial_complete("a", DONE)
        assert search.suggest("c")["values"] != first["values"]

    def test_optunas_logging_stays_as_it_was(self, store, capfd):
        before = optuna.logging.get_verbosity()
        search = searching(store, LEARNING_RATE)
        search.suggest("a")
        search.on_trial_complete("a", DONE)
        assert optuna.logging.get_verbosity() == before
        assert capfd.readouterr() == ("", "")


class TestResults:
    """What Optuna is told."""

    def told(self, search: StoredOptunaSearch) -> list[optuna.trial.FrozenTrial]:
        # The one place where a test looks inside: nobody but Optuna is told.
        return search._study.trials

    def test_results_are_told_at_training_steps_and_ends_as_what_they_are(self, store):
        search = searching(store, LEARNING_RATE)
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
        complete, pruned, failed, lost, running = self.told(search)
        assert (complete.state, complete.value) == (TrialState.COMPLETE, 1.25)
        assert complete.intermediate_values == {5: 3.0, 10: 2.0}
        assert pruned.state == TrialState.PRUNED
        assert pruned.intermediate_values == {5: 4.0, 10: 3.0}
        assert (failed.state, failed.intermediate_values) == (TrialState.FAIL, {5: 9.0})
        assert lost.state == TrialState.FAIL
        assert running.state == TrialState.RUNNING

    def test_a_trial_that_ends_once_more_ends_nothing_else(self, store):
        search = searching(store, LEARNING_RATE)
        search.suggest("a")
        for _ in range(2):
            search.on_trial_complete("a", DONE)
        (trial,) = self.told(search)
        assert trial.value == 1.25

    def test_a_trial_that_says_why_it_failed_has_failed(self, store):
        search = searching(store, LEARNING_RATE)
        search.suggest("a")
        search.on_trial_complete("a", {"error": "ValueError: why", "done": True})
        (failed,) = self.told(search)
        assert failed.state == TrialState.FAIL

    def test_a_metric_without_a_value_is_no_result(self, store):
        search = searching(store, small({"train.batch_size": [4]}, metric={"name": "grounding"}))
        search.suggest("a")
        search.on_trial_complete("a", DONE)
        (trial,) = self.told(search)
        assert (trial.state, trial.value) == (TrialState.FAIL, None)

    def test_a_retried_trial_reports_each_step_once(self, store, recwarn):
        search = searching(store, LEARNING_RATE)
        search.suggest("a")
        for step, loss in ((5, 3.0), (10, 2.0), (10, 2.0), (15, 1.0)):
            search.on_trial_result("a", {"step": step, "eval_loss": loss, "done": False})
        (trial,) = self.told(search)
        assert trial.intermediate_values == {5: 3.0, 10: 2.0, 15: 1.0}
        assert not recwarn

    @pytest.mark.parametrize(("metric", "mode"), [("label_accuracy", "max"), ("eval_loss", "min")])
    def test_the_studys_metric_is_optimised(self, store, metric, mode):
        study = LEARNING_RATE.model_copy(
            update={
                "metric": LEARNING_RATE.metric.model_copy(update={"name": metric, "mode": mode})
            }
        )
        search = searching(store, study)
        search.suggest("a")
        search.on_trial_complete("a", DONE)
        (trial,) = self.told(search)
        assert trial.value == {"label_accuracy": 0.75, "eval_loss": 1.25}[metric]

    def test_trials_that_the_store_has_are_known_and_not_asked_for(self, store):
        first = searching(store, LEARNING_RATE)
        rates = [rate_of(first.suggest(name)) for name in "abc"]
        plan = replanned(store)
        finish(store, plan.trials[0])
        store.mark_pruned(plan.search_key, plan.trials[2].run_key, history(3.0, None, 2.0))
        search = searching(store, LEARNING_RATE)
        complete, pruned = self.told(search)
        assert (complete.state, complete.value) == (TrialState.COMPLETE, 1.25)
        assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {10: 3.0, 30: 2.0})
        assert rate_of(search.suggest("d")) == rates[1]
        assert rate_of(search.suggest("e")) not in rates


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
