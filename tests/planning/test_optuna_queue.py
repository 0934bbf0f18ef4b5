"""The points that an Optuna search chooses, and the results that Optuna gets."""

import optuna
from optuna.trial import TrialState

from tests.planning.searching import (
    LEARNING_RATE,
    Driven,
    points,
    rate_of,
    replanned,
    searching,
    small,
)
from tests.records.made import LocalStore, finish, history, study_of
from tune_distill.planning.optuna_queue import OptunaQueue


class TestNewPoints:
    def test_the_baseline_is_asked_first(self, store):
        search = searching(store, LEARNING_RATE)
        assert rate_of(search.start("a")) == 2e-3
        assert rate_of(search.start("b")) != 2e-3

    def test_a_config_has_a_value_of_each_domain(self, store):
        study = study_of(
            {
                # The points are 4, 12, 20 and 28: 30 is not among them.
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
        started = [search.start(str(number)) for number in range(30)]
        assert search.start("more") == "finished"
        seen = {
            name: {trial.setting.values[name] for trial in started}
            for name in started[0].setting.values
        }
        assert seen.pop("batch_size") == {4, 12, 20, 28}
        assert all(0 <= value <= 0.5 for value in seen.pop("weight_decay"))
        assert seen == {
            "strategy": {"greedy", "beam"},
            "num_train": {100, None},
            "size": {"few", "many"},
        }
        epochs = {
            (trial.setting.values["size"], trial.setting.fields["train.num_epochs"])
            for trial in started
        }
        assert epochs == {("few", 1), ("many", 9)}
        assert all("size" not in trial.setting.fields for trial in started)

    def test_a_log_uniform_range_is_searched_by_logarithm(self, store):
        search = searching(store, LEARNING_RATE)
        rates = [rate_of(search.start(str(n))) for n in range(40)]
        assert all(1e-5 <= rate <= 1e-2 for rate in rates)
        # A tenth of the range by value holds two thirds of it by logarithm.
        assert 16 <= sum(rate < 1e-3 for rate in rates) <= 36

    def test_the_same_search_draws_the_same_points(self, tmp_path):
        stores = [LocalStore(tmp_path / name) for name in "ab"]
        first, second = (
            [rate_of(search.start(str(n))) for n in range(4)]
            for search in (searching(store, LEARNING_RATE) for store in stores)
        )
        assert first == second

    def test_a_search_that_goes_on_draws_new_points(self, store):
        first = searching(store, LEARNING_RATE)
        drawn = [rate_of(first.start(str(number))) for number in range(3)]
        again = searching(store, LEARNING_RATE)
        more = [rate_of(again.start(str(number))) for number in range(6)]
        # The points that were left running come first, each once.
        assert more[:3] == drawn
        assert len(set(more)) == 6
        assert [point["train.learning_rate"] for point in points(store, LEARNING_RATE)] == more

    def test_a_good_region_is_sampled_more_than_others(self, store):
        search = searching(store, LEARNING_RATE)
        rates = []
        for number in range(40):
            rates.append(rate_of(search.start(str(number))))
            search.end(str(number), value=rates[-1])
        # The loss is the rate itself here, so low rates are best.
        assert sum(rate < 1e-4 for rate in rates[20:]) > 12

    def test_two_workers_never_train_the_same_run(self, store):
        hot = {"decode.temperature": {"type": "uniform", "low": 0.5, "high": 1.5}}
        search = searching(store, small(hot, 4, overrides={"decode.strategy": "sample"}))
        first = search.start("a")
        # All trials decode the same run.
        assert search.start("b") == "wait"
        search.end("a")
        assert search.start("c").setting.values != first.setting.values

    def test_optunas_logging_stays_as_it_was(self, store, capfd):
        before = optuna.logging.get_verbosity()
        search = searching(store, LEARNING_RATE)
        search.start("a")
        search.end("a")
        assert optuna.logging.get_verbosity() == before
        assert capfd.readouterr() == ("", "")


class TestResults:
    """The results that Optuna gets."""

    def told(self, search: Driven) -> list[optuna.trial.FrozenTrial]:
        # Only Optuna gets these results, so the test has to look inside the queue.
        assert isinstance(search.queue, OptunaQueue)
        return search.queue._study.trials

    def test_optuna_gets_losses_at_steps_and_the_state_at_the_end(self, store):
        search = searching(store, LEARNING_RATE)
        for name in ("complete", "pruned", "failed", "lost", "running"):
            search.start(name)
        for step, loss in ((5, 3.0), (10, 2.0)):
            search.report("complete", step, loss)
        search.end("complete")
        search.report("pruned", 5, 4.0)
        search.report("pruned", 10, 3.0)
        search.end("pruned", "pruned")
        search.report("failed", 5, 9.0)
        search.end("failed", "failed")
        search.end("lost", "failed")
        complete, pruned, failed, lost, running = self.told(search)
        assert (complete.state, complete.value) == (TrialState.COMPLETE, 1.25)
        assert complete.intermediate_values == {5: 3.0, 10: 2.0}
        assert pruned.state == TrialState.PRUNED
        assert pruned.intermediate_values == {5: 4.0, 10: 3.0}
        assert (failed.state, failed.intermediate_values) == (TrialState.FAIL, {5: 9.0})
        assert lost.state == TrialState.FAIL
        assert running.state == TrialState.RUNNING

    def test_a_second_end_of_a_trial_is_ignored(self, store):
        search = searching(store, LEARNING_RATE)
        search.start("a")
        for _ in range(2):
            search.end("a")
        (trial,) = self.told(search)
        assert trial.value == 1.25

    def test_a_failed_trial_has_failed_for_optuna(self, store):
        search = searching(store, LEARNING_RATE)
        search.start("a")
        search.end("a", "failed")
        (failed,) = self.told(search)
        assert failed.state == TrialState.FAIL

    def test_a_complete_trial_without_a_value_has_failed_for_optuna(self, store):
        search = searching(store, small({"train.batch_size": [4]}, metric={"name": "grounding"}))
        search.start("a")
        search.end("a", value=None)
        (trial,) = self.told(search)
        assert (trial.state, trial.value) == (TrialState.FAIL, None)

    def test_a_retried_trial_reports_each_step_once(self, store, recwarn):
        search = searching(store, LEARNING_RATE)
        search.start("a")
        for step, loss in ((5, 3.0), (10, 2.0), (10, 2.0), (15, 1.0)):
            search.report("a", step, loss)
        (trial,) = self.told(search)
        assert trial.intermediate_values == {5: 3.0, 10: 2.0, 15: 1.0}
        assert not recwarn

    def test_losses_are_not_reported_for_a_metric_computed_at_the_end(self, store):
        study = LEARNING_RATE.model_copy(
            update={
                "metric": LEARNING_RATE.metric.model_copy(
                    update={"name": "label_accuracy", "mode": "max"}
                )
            }
        )
        search = searching(store, study)
        search.start("a")
        search.report("a", 5, 3.0)
        search.end("a", value=0.75)
        (trial,) = self.told(search)
        assert (trial.value, trial.intermediate_values) == (0.75, {})

    def test_trials_in_the_store_are_known_and_not_chosen_again(self, store):
        first = searching(store, LEARNING_RATE)
        rates = [rate_of(first.start(name)) for name in "abc"]
        plan = replanned(store)
        finish(store, plan.trials[0])
        store.mark_pruned(plan.search_key, plan.trials[2].run_key, history(3.0, None, 2.0))
        search = searching(store, LEARNING_RATE)
        complete, pruned = self.told(search)
        assert (complete.state, complete.value) == (TrialState.COMPLETE, 1.25)
        assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {10: 3.0, 30: 2.0})
        assert rate_of(search.start("d")) == rates[1]
        assert rate_of(search.start("e")) not in rates
