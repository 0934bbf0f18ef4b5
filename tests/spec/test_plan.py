from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.spec.fakes import (
    SMOOTHING,
    FakeIdentities,
    FakeStore,
    make_profile,
    make_study,
    resolved,
)
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.keys import evaluation_identity, key_of, run_identity
from tune_distill.spec.plan import make_plan, planned_trials, require_effect, trial_id
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import Setting

FAKES = FakeIdentities()
SAMPLED = make_profile(decode={"strategy": "sample"})
TEMPERATURES = {"decode.temperature": [0.5, 1.0, 1.5]}
RATES = {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2}}
ASHA = {
    "scheduler": {"type": "asha"},
    "metric": {"name": "eval_loss", "mode": "min"},
}


def search(**changes):
    return {"method": "optuna", "num_samples": 4, "seed": 0} | changes


def plan_of(study, store, profile=None, seeds=(0,), **flags):
    """Return the plan of a grid with this store."""
    ready = resolved(study, profile, seeds=seeds)
    return make_plan(ready, "search", planned_trials(ready, FAKES), store, **flags)


def test_trials_are_settings_times_seeds():
    trials = planned_trials(resolved(make_study(), seeds=(0, 1)), FAKES)
    assert [trial.trial_id for trial in trials] == [
        f"label_smoothing={value},seed={seed}" for value in (0.0, 0.1, 0.2) for seed in (0, 1)
    ]
    assert len({trial.run_key for trial in trials}) == 6
    for trial in trials:
        assert trial.profile.train.label_smoothing == trial.setting.fields["train.label_smoothing"]
        assert trial.run_key == key_of(trial.run_identity)
        assert trial.evaluation_key == key_of(trial.evaluation_identity)
        assert trial.run_identity["seed"] == trial.seed
        assert trial.evaluation_identity["run_key"] == trial.run_key


def test_ids_name_every_column_and_keep_every_digit():
    values = {"strategy": "beam 2", "learning_rate": 0.1 + 0.2, "revision": None}
    assert trial_id(Setting(values, {}), 7) == (
        "strategy=beam 2,learning_rate=0.30000000000000004,revision=None,seed=7"
    )


@given(st.floats(1e-9, 1, exclude_max=True), st.floats(1e-9, 1, exclude_max=True))
def test_ids_are_equal_if_and_only_if_values_are(one, other):
    ids = {trial_id(Setting({"label_smoothing": value}, {}), 0) for value in (one, other)}
    assert len(ids) == len({one, other})


def test_settings_that_are_the_same_trial_are_refused():
    with pytest.raises(StudyFileError) as caught:
        planned_trials(resolved(make_study(TEMPERATURES)), FAKES)
    assert str(caught.value) == (
        "study s: vary: settings must differ, got temperature=0.5,seed=0 and "
        "temperature=1.0,seed=0, which are the same trial under decode.strategy greedy; "
        "remove one, or set the strategy that reads the varied field"
    )
    assert len(planned_trials(resolved(make_study(TEMPERATURES), SAMPLED), FAKES)) == 3


def test_an_empty_store_leaves_everything_to_do():
    plan = plan_of(make_study(), FakeStore())
    assert plan.finished == {}
    assert plan.stored_runs == frozenset()
    assert plan.pending == list(plan.trials)
    assert plan.trainings == plan.pending
    assert plan.num_to_run == 3


def test_a_trial_is_complete_with_its_run_and_its_evaluation():
    trials = plan_of(make_study(), FakeStore()).trials
    both, only_run, only_evaluation = trials
    store = FakeStore(
        {both.run_key, only_run.run_key}, {both.evaluation_key, only_evaluation.evaluation_key}
    )
    plan = plan_of(make_study(), store)
    assert plan.finished == {both.trial_id: "complete"}
    assert plan.pending == [only_run, only_evaluation]
    assert plan.trainings == [only_evaluation]
    assert plan.stored_runs == {both.run_key, only_run.run_key}


def test_a_trial_is_pruned_for_its_own_search_only():
    first, second, third = plan_of(make_study(), FakeStore()).trials
    store = FakeStore(pruned={("search", first.run_key), ("other search", second.run_key)})
    store.pruned.add(("search", third.run_key))
    # A search that did not prune the trial finishes it later.
    store.runs.add(third.run_key)
    store.evaluations.add(third.evaluation_key)
    plan = plan_of(make_study(), store)
    assert plan.finished == {first.trial_id: "pruned", third.trial_id: "complete"}
    assert plan.pending == [second]


def test_trials_that_share_a_run_are_one_training():
    plan = plan_of(make_study(TEMPERATURES), FakeStore(), SAMPLED, seeds=(0, 1))
    assert [trial.trial_id for trial in plan.trainings] == [
        "temperature=0.5,seed=0",
        "temperature=0.5,seed=1",
    ]
    store = FakeStore({plan.trials[0].run_key})
    stored = plan_of(make_study(TEMPERATURES), store, SAMPLED, seeds=(0, 1))
    assert [trial.seed for trial in stored.trainings] == [1]
    assert len(stored.pending) == 6


def test_trials_that_optuna_has_yet_to_choose_count_as_to_run():
    plan = plan_of(make_study(), FakeStore(), num_new=4, asks_optuna=True, prunes=False)
    assert plan.num_to_run == 7
    assert (plan.asks_optuna, plan.prunes) == (True, False)


@examples(deadline=None)
@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_every_trial_is_finished_or_pending(runs, evaluations, pruned):
    trials = plan_of(make_study(), FakeStore(), seeds=(0, 1)).trials
    store = FakeStore(
        {trials[n].run_key for n in runs},
        {trials[n].evaluation_key for n in evaluations},
        {("search", trials[n].run_key) for n in pruned},
    )
    plan = plan_of(make_study(), store, seeds=(0, 1))
    complete = {trials[n].trial_id for n in runs & evaluations}
    assert {name for name, state in plan.finished.items() if state == "complete"} == complete
    assert set(plan.finished) == complete | {trials[n].trial_id for n in pruned}
    assert len(plan.finished) + len(plan.pending) == len(plan.trials) == 6
    assert {t.run_key for t in plan.trainings} == {t.run_key for t in plan.pending} - store.runs


def search_key(vary=RATES, profile=None, **fields):
    study = make_study(vary, **{"search": search(), **ASHA, **fields})
    return resolved(study, profile).search_key(FAKES)


def test_a_widened_search_is_the_same_search():
    assert search_key(search=search(num_samples=40)) == search_key()
    assert search_key(question="Really?", replicates=3) == search_key()
    # Naming the profile's own value as the baseline changes nothing.
    assert search_key(baseline={"train.learning_rate": 5e-5}) == search_key()


@pytest.mark.parametrize(
    "changes",
    [
        {"search": search(seed=1)},
        {"search": search(method="random")},
        {"vary": {"train.learning_rate": {**RATES["train.learning_rate"], "high": 2e-2}}},
        {"vary": RATES | SMOOTHING},
        {"scheduler": None},
        {"scheduler": {"type": "asha", "reduction_factor": 2}},
        {"metric": {"name": "eval_loss", "mode": "min"}, "overrides": {"train.num_epochs": 9}},
        {"scheduler": None, "metric": {"name": "rougeL", "mode": "max"}},
        {"baseline": {"train.learning_rate": 1e-3}},
        {"profile": make_profile(data={"num_validation": 9})},
        {"profile": make_profile(student={"source": "other"})},
    ],
)
def test_another_space_or_baseline_makes_another_search(changes):
    assert search_key(**changes) != search_key()


class Changed(FakeIdentities):
    """Identities in which the student, data or encoder `b` has other content."""

    def student_identity(self, student):
        found = super().student_identity(student)
        return {**found, "revision": "changed"} if student.source == "b" else found

    def data_identity(self, task, data):
        found = super().data_identity(task, data)
        return replace(found, validation_digest="changed") if data.source == "b" else found

    def encoder_identity(self, metrics):
        return "changed" if metrics.bertscore_model == "b" else metrics.bertscore_model


@pytest.mark.parametrize(
    ("vary", "differs"),
    [
        ({"student.source": ["a", "b"]}, True),
        ({"data.source": ["a", "b"]}, True),
        ({"metrics.bertscore_model": ["a", "b"]}, True),
        ({"which": {"type": "cases", "cases": {"one": {"student.source": "b"}}}}, True),
        ({"student.source": ["a", "c"]}, False),
    ],
)
def test_changed_files_make_another_search_over_sources(vary, differs):
    study = make_study(vary, search=search(num_samples=2))
    before, after = (
        resolved(study, make_profile()).search_key(identities) for identities in (FAKES, Changed())
    )
    assert (before != after) == differs


def test_equal_factors_and_values_make_the_same_search():
    factors = {"type": "loguniform", "low": 0.5, "high": 2, "times_default": True}
    values = {"type": "loguniform", "low": 5e-4, "high": 2e-3}
    profile = make_profile(train={"learning_rate": 1e-3})
    assert search_key({"train.learning_rate": factors}, profile) == search_key(
        {"train.learning_rate": values}, profile
    )


def test_a_search_over_a_field_without_effect_is_refused():
    hot = {"decode.temperature": {"type": "uniform", "low": 0.5, "high": 1.5}}
    study = make_study(vary=hot, search=search())
    with pytest.raises(StudyFileError, match="are the same trial under decode"):
        require_effect(resolved(study), FAKES)
    require_effect(resolved(study, SAMPLED), FAKES)


MIXED = {
    "settings": {
        "type": "cases",
        "cases": {
            "short": {"train.max_source_length": 32, "decode.max_new_tokens": 8},
            "few": {"data.train_fraction": 0.5},
            "other": {"student.source": "other"},
        },
    },
    "train.learning_rate": [1e-4, 1e-3],
}


def test_replicates_equal_trials_made_one_by_one():
    ready = resolved(make_study(MIXED), seeds=(0, 1, 5))
    trials = planned_trials(ready, FAKES)
    assert len(trials) == 18
    for trial in trials:
        raw = ready.profile.model_dump()
        for path, value in trial.setting.fields.items():
            section, name = path.split(".")
            raw[section][name] = value
        profile = Profile.model_validate(raw)
        student, data = (
            FAKES.student_identity(profile.student),
            FAKES.data_identity(profile.task, profile.data),
        )
        run = run_identity(profile, trial.seed, student, data)
        assert trial.profile == profile
        assert trial.run_identity == run
        assert trial.run_key == key_of(run)
        assert trial.evaluation_identity == evaluation_identity(key_of(run), profile, data, None)
        assert trial.evaluation_key == key_of(trial.evaluation_identity)
        assert ready.trial(trial.setting, trial.seed, FAKES) == trial


def test_trials_share_their_common_objects():
    ready = resolved(make_study(), seeds=(0, 1))
    first, second, other = planned_trials(ready, FAKES)[:3]
    assert first.profile is second.profile
    assert first.setting is second.setting
    assert first.profile.train is not other.profile.train
    assert first.data is other.data
    assert first.student is other.student
    assert first.profile.data is other.profile.data is ready.profile.data


def test_students_and_data_are_identified_once_each():
    asked = []

    class Counting(FakeIdentities):
        def student_identity(self, student):
            asked.append(student)
            return super().student_identity(student)

        def data_identity(self, task, data):
            asked.append(data)
            return super().data_identity(task, data)

    planned_trials(resolved(make_study(MIXED), seeds=(0, 1)), Counting())
    assert len(asked) == 4
    assert len(set(asked)) == 4
