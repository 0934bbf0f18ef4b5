import random
from dataclasses import replace
from typing import Any

import pytest

from tests.records.made import (
    INPUTS,
    finish,
    finish_run,
    history,
    resolved,
    study_of,
)
from tune_distill.planning.plans import (
    exhaustion,
    explanations,
    nearest_run,
    plans,
    start_over,
)
from tune_distill.records.search_log import End, SearchLog
from tune_distill.records.store import Store
from tune_distill.spec.plan import Plan, ResolvedStudy
from tune_distill.spec.settings import domains

SEARCH = study_of(
    {"train.learning_rate": {"type": "uniform", "low": 0.001, "high": 0.1}},
    search={"method": "optuna", "num_samples": 4},
    scheduler={"type": "asha"},
    metric={"name": "eval_loss", "mode": "min"},
)


class TestGrid:
    def test_one_plan_has_every_setting_with_every_seed(self, store):
        (plan,) = plans(resolved("smoothing", num_seeds=2), INPUTS, store)
        assert ids(plan.trials) == [
            f"label_smoothing={value},seed={seed}" for value in (0.0, 0.1, 0.2) for seed in (0, 1)
        ]
        assert (plan.finished, plan.stored_runs, plan.num_to_run) == ({}, frozenset(), 6)
        assert (plan.asks_optuna, plan.prunes) == (False, True)
        assert not store.root.exists()

    def test_trials_in_the_store_are_finished(self, store):
        study = resolved("temperature", num_seeds=2)
        (plan,) = plans(study, INPUTS, store)
        finish(store, plan.trials[0])
        (plan,) = plans(study, INPUTS, store)
        assert plan.finished == {"temperature=0.5,seed=0": "complete"}
        assert plan.stored_runs == {plan.trials[0].run_key}
        assert ids(plan.trainings) == ["temperature=0.5,seed=1"]
        assert plan.num_to_run == 7

    def test_a_pruned_trial_is_finished_for_its_own_search_only(self, store):
        study = study_of(
            {"train.label_smoothing": [0.0, 0.1]},
            scheduler={"type": "asha"},
            metric={"name": "eval_loss", "mode": "min"},
        )
        (plan,) = plans(resolved(study), INPUTS, store)
        store.mark_pruned(plan.search_key, plan.trials[0].run_key, history(3.0))
        (plan,) = plans(resolved(study), INPUTS, store)
        assert plan.finished == {"label_smoothing=0.0,seed=0": "pruned"}
        (other,) = plans(resolved("smoothing"), INPUTS, store)
        assert other.trials[0].run_key == plan.trials[0].run_key
        assert other.finished == {}


class TestOptuna:
    def test_a_new_search_tries_its_baseline_and_chooses_the_rest(self, store):
        (plan,) = plans(resolved(SEARCH), INPUTS, store)
        assert (ids(plan.pending), plan.num_new) == (["learning_rate=0.002,seed=0"], 3)
        assert (plan.asks_optuna, plan.prunes, plan.num_to_run) == (True, True, 4)
        assert plan.trials[0].profile == resolved(SEARCH).profile

    def test_a_search_of_one_setting_is_its_baseline(self, store):
        (plan,) = plans(with_samples(1), INPUTS, store)
        assert (len(plan.trials), plan.num_new) == (1, 0)

    def test_the_study_may_name_another_baseline(self, store):
        study = SEARCH.model_copy(update={"baseline": {"train.learning_rate": 0.05}})
        (plan,) = plans(resolved(study), INPUTS, store)
        assert (ids(plan.trials), plan.num_new) == (["learning_rate=0.05,seed=0"], 3)

    def test_without_a_baseline_every_trial_is_yet_to_be_chosen(self, store):
        elsewhere = SEARCH.model_copy(update={"overrides": {"train.learning_rate": 1.0}})
        (plan,) = plans(resolved(elsewhere), INPUTS, store)
        assert (plan.trials, plan.num_new, plan.num_to_run) == ((), 4, 4)

    def test_a_baseline_that_another_study_has_made_is_finished(self, store):
        (plan,) = plans(resolved(SEARCH), INPUTS, store)
        finish(store, plan.trials[0])
        (plan,) = plans(resolved(SEARCH), INPUTS, store)
        assert plan.finished == {"learning_rate=0.002,seed=0": "complete"}
        assert (plan.num_new, plan.num_to_run) == (3, 3)

    def test_a_search_that_goes_on_knows_its_points(self, store):
        study = resolved(SEARCH)
        points = choose(study, store, 3)
        # A search that began without its baseline keeps its points.
        (plan,) = plans(study, INPUTS, store)
        rates = [trial.setting.values["learning_rate"] for trial in plan.trials]
        assert rates == [point["train.learning_rate"] for point in points]
        assert [trial.profile.train.learning_rate for trial in plan.trials] == rates
        assert (plan.num_new, plan.num_to_run) == (1, 4)
        finish(store, plan.trials[1])
        store.mark_pruned(plan.search_key, plan.trials[2].run_key, history(3.0))
        (plan,) = plans(study, INPUTS, store)
        assert list(plan.finished.values()) == ["complete", "pruned"]
        assert (ids(plan.pending), plan.num_to_run) == ([plan.trials[0].trial_id], 2)

    def test_a_widened_search_keeps_its_trials_and_a_narrowed_one_the_first(self, store):
        choose(resolved(SEARCH), store, 4)
        (plan,) = plans(with_samples(6), INPUTS, store)
        assert (len(plan.trials), plan.num_new) == (4, 2)
        (narrow,) = plans(with_samples(2), INPUTS, store)
        assert (narrow.trials, narrow.num_new) == (plan.trials[:2], 0)

    def test_only_complete_settings_are_replicated_with_the_other_seeds(self, store):
        study = resolved(SEARCH, num_seeds=3)
        steps = plans(study, INPUTS, store)
        search = next(steps)
        # The search runs here, and the next plan depends on its results.
        choose(study, store, 3)
        explored = next(plans(study, INPUTS, store)).trials
        assert {trial.seed for trial in explored} == {0}
        finish(store, explored[0])
        finish(store, explored[2])
        store.mark_pruned(search.search_key, explored[1].run_key, history(3.0))
        (replicates,) = steps
        pairs = [(trial.setting, trial.seed) for trial in replicates.trials]
        assert pairs == [
            (trial.setting, seed) for trial in (explored[0], explored[2]) for seed in (1, 2)
        ]
        # Replicates are not pruned, so that each setting has all planned seeds.
        assert (replicates.prunes, replicates.asks_optuna, replicates.num_new) == (False, False, 0)
        assert replicates.search_key == search.search_key

    def test_with_one_seed_there_is_nothing_to_replicate(self, store):
        choose(resolved(SEARCH), store, 4)
        for trial in next(plans(resolved(SEARCH), INPUTS, store)).trials:
            finish(store, trial)
        (plan,) = plans(resolved(SEARCH), INPUTS, store)
        assert plan.num_to_run == 0


class TestSmallSpaces:
    """A search that asks for more samples than its space has points."""

    @pytest.mark.parametrize(
        ("vary", "num_points"),
        [
            ({"train.batch_size": [8, 16]}, 2),
            ({"train.batch_size": {"type": "int", "low": 4, "high": 30, "step": 8}}, 4),
            ({"train.batch_size": [8, 16], "decode.strategy": ["greedy", "beam"]}, 4),
            (
                {
                    "size": {
                        "type": "cases",
                        "cases": {"few": {"train.num_epochs": 1}, "many": {"train.num_epochs": 9}},
                    },
                    "train.label_smoothing": [0.0, 0.1, 0.2],
                },
                6,
            ),
            # Greedy answers do not depend on the temperature, so there are three trials.
            ({"decode.temperature": [0.5, 0.7], "decode.strategy": ["sample", "greedy"]}, 3),
        ],
    )
    def test_its_points_are_planned_with_a_note(self, store, vary, num_points):
        study = study_of(
            vary,
            search={"method": "optuna", "num_samples": 50},
            overrides={"decode.strategy": "sample"},
        )
        (plan,) = plans(resolved(study), INPUTS, store)
        assert len(plan.trials) + plan.num_new == num_points
        line = exhaustion(plan, store)
        assert f"it has {num_points} points, fewer than the 50 samples asked for" in line

    def test_a_search_for_as_many_samples_as_points_has_no_note(self, store):
        study = study_of(
            {"train.batch_size": [8, 16]}, search={"method": "optuna", "num_samples": 2}
        )
        (plan,) = plans(resolved(study), INPUTS, store)
        assert (plan.num_to_run, exhaustion(plan, store)) == (2, None)
        assert exhaustion(only_plan("smoothing", store), store) is None

    def test_a_search_that_found_no_other_point_asks_for_none(self, store):
        study = resolved(SEARCH)
        choose(study, store, 2)
        SearchLog(store, study.search_key(INPUTS)).claim(2, None)
        (plan,) = plans(study, INPUTS, store)
        assert (len(plan.trials), plan.num_new) == (2, 0)
        assert "it has 2 points, fewer than the 4 samples" in exhaustion(plan, store)


class TestEnds:
    def test_a_trial_that_the_search_has_pruned_stays_pruned(self, store):
        study = resolved(SEARCH)
        [point] = choose(study, store, 1)
        (plan,) = plans(study, INPUTS, store)
        [trial] = plan.trials
        store.mark_pruned(plan.search_key, trial.run_key, history(3.0))
        SearchLog(store, plan.search_key).set_end(trial.evaluation_key, End(0, point, "pruned"))
        # Another study may finish the run, but the search's table does not change.
        finish(store, trial)
        (plan,) = plans(study, INPUTS, store)
        assert list(plan.finished.values()) == ["pruned"]


class TestExplanations:
    def test_an_empty_store_has_no_near_run(self, store):
        assert explained("smoothing", store)[0] == (
            "label_smoothing=0.0,seed=0: no hit, the store has no run"
        )

    def test_a_hit_says_how_it_ended(self, store):
        plan = only_plan("smoothing", store)
        finish(store, plan.trials[0])
        store.mark_pruned(plan.search_key, plan.trials[1].run_key, history(3.0))
        assert explained("smoothing", store)[:2] == [
            "label_smoothing=0.0,seed=0: hit, complete in the store",
            "label_smoothing=0.1,seed=0: hit, pruned in the store",
        ]

    def test_a_stored_run_may_still_have_to_be_decoded(self, store):
        trial = only_plan("temperature", store).trials[0]
        finish_run(store, trial)
        line = f"run {trial.run_key[:12]} is a hit; it is yet to be decoded so"
        assert explained("temperature", store) == [
            f"temperature={value},seed=0: {line}" for value in (0.5, 0.7, 1.0, 1.2)
        ]

    def test_the_nearest_runs_differing_fields_are_named(self, store):
        near = only_plan("smoothing", store).trials[1]
        finish_run(store, near)
        finish_run(
            store,
            only_plan(
                study_of({"train.num_epochs": [9]}, overrides={"train.batch_size": 2}), store
            ).trials[0],
        )
        lines = explained("smoothing", store)
        assert lines[0] == (
            f"label_smoothing=0.0,seed=0: no hit; nearest is run {near.run_key[:12]}: "
            "train.label_smoothing is 0.0, there 0.1"
        )

    def test_more_than_four_fields_are_counted(self, store):
        far = {"num_epochs": 9, "batch_size": 2, "learning_rate": 0.5, "weight_decay": 0.2}
        fields = {f"train__{name}": value for name, value in far.items()}
        (plan,) = plans(resolved("smoothing", **fields), INPUTS, store)
        finish_run(store, plan.trials[1])
        first, second = explained("smoothing", store)[:2]
        assert second.endswith("train.weight_decay is 0.01, there 0.2")
        assert second.count(" there ") == 4
        assert first.count(" there ") == 4
        assert first.endswith(", and 1 more")

    def test_an_interrupted_run_says_that_it_goes_on(self, store):
        first, second = only_plan("smoothing", store).trials[:2]
        finish_run(store, second)
        store.begin_run(first.run_key, first.run_identity)
        assert "nearest is run" in explained("smoothing", store)[0]
        store.save_checkpoint(first.run_key, lambda path: path.write_text(""))
        assert explained("smoothing", store)[0] == (
            f"label_smoothing=0.0,seed=0: no hit, run {first.run_key[:12]} is not finished; "
            "it goes on from its checkpoint"
        )

    def test_settings_that_optuna_has_yet_to_choose_are_counted(self, store):
        assert explained(SEARCH, store) == [
            "learning_rate=0.002,seed=0: no hit, the store has no run",
            "3 settings that Optuna has yet to choose",
        ]
        choose(resolved(SEARCH), store, 3)
        lines = explained(SEARCH, store)
        assert (len(lines), lines[-1]) == (4, "1 settings that Optuna has yet to choose")

    def test_nearest_is_the_run_with_the_fewest_differing_fields(self, store):
        trial = only_plan("smoothing", store).trials[0]
        identity = trial.run_identity
        one = {**identity, "seed": 5}
        two = {**one, "recipe_version": 0}
        key, fields = nearest_run(trial, [("two", two), ("one", one)])
        assert (key, [(d.field, d.wanted, d.stored) for d in fields]) == ("one", [("seed", 0, 5)])
        assert nearest_run(trial, []) is None


class TestStartOver:
    def test_no_trial_of_a_grid_is_found_any_more(self, store):
        study = resolved("smoothing", num_seeds=2)
        (plan,) = plans(study, INPUTS, store)
        for trial in plan.trials[:3]:
            finish(store, trial)
        store.save_checkpoint(plan.trials[3].run_key, lambda path: path.write_text(""))
        store.mark_pruned(plan.search_key, plan.trials[4].run_key, history(3.0))
        start_over(study, INPUTS, store)
        (plan,) = plans(study, INPUTS, store)
        assert (plan.finished, plan.stored_runs) == ({}, frozenset())
        assert not store.checkpoint_path(plan.trials[3].run_key).exists()

    def test_other_studies_keep_their_runs(self, store):
        other = only_plan(study_of({"train.num_epochs": [9]}), store).trials[0]
        finish(store, other)
        start_over(resolved("smoothing"), INPUTS, store)
        assert store.has_run(other.run_key)

    def test_a_search_and_its_replicates_start_over(self, store):
        study = resolved(SEARCH, num_seeds=2)
        choose(study, store, 4)
        for plan in plans(study, INPUTS, store):
            for trial in plan.trials:
                finish(store, trial)
        search, replicates = plans(study, INPUTS, store)
        assert (len(search.finished), len(replicates.finished)) == (4, 4)
        start_over(study, INPUTS, store)
        fresh = next(plans(study, INPUTS, store))
        assert (fresh.finished, fresh.num_to_run, fresh.num_new) == ({}, 4, 3)
        trials = [*search.trials, *replicates.trials]
        assert [trial.trial_id for trial in trials if store.has_run(trial.run_key)] == []


def ids(trials: Any) -> list[str]:
    return [trial.trial_id for trial in trials]


def only_plan(study: Any, store: Store) -> Plan:
    (plan,) = plans(resolved(study), INPUTS, store)
    return plan


def explained(study: Any, store: Store) -> list[str]:
    return explanations(only_plan(study, store), store)


def with_samples(num_samples: int) -> ResolvedStudy:
    search = SEARCH.search.model_copy(update={"num_samples": num_samples})
    return replace(resolved(SEARCH), study=SEARCH.model_copy(update={"search": search}))


def choose(study: ResolvedStudy, store: Store, count: int) -> list[dict[str, Any]]:
    """Claim `count` points of a search without its baseline, and return them."""
    space = domains(study.study, study.profile)
    rng = random.Random(count)
    points = [{name: space[name].draw(rng) for name in space} for _ in range(count)]
    SearchLog(store, study.search_key(INPUTS)).claim_all(points)
    return points
