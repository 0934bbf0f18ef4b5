import itertools

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.spec.fakes import lines_of, make_profile, make_study, study_faults
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.profile import Profile, absolute_source, field_paths
from tune_distill.spec.settings import (
    Setting,
    baseline,
    domains,
    input_profiles,
    setting,
    settings,
    study_profile,
    with_fields,
)
from tune_distill.spec.yaml_files import load_profile, load_study, shipped_studies

FACTORS = {"type": "loguniform", "low": 0.5, "high": 2, "times_default": True}
CASES = {
    "type": "cases",
    "cases": {
        "greedy": {"decode.strategy": "greedy"},
        "beam 2": {"decode.strategy": "beam", "decode.num_beams": 2},
    },
}


def random_study(vary, num_samples, seed=0):
    return make_study(vary, search={"method": "random", "num_samples": num_samples, "seed": seed})


def test_with_fields_sets_fields_in_a_copy():
    profile = make_profile()
    changed = with_fields(profile, {"train.num_epochs": 1, "data.num_train": None}, "here")
    assert (changed.train.num_epochs, changed.data.num_train) == (1, None)
    assert profile == make_profile()
    assert with_fields(profile, {}, "here") == profile


def test_profiles_share_the_sections_that_are_not_set():
    profile = make_profile()
    changed = with_fields(profile, {"train.num_epochs": 1, "train.batch_size": 2}, "here")
    assert (changed.train.num_epochs, changed.train.batch_size) == (1, 2)
    for section in ("student", "data", "decode", "metrics"):
        assert getattr(changed, section) is getattr(profile, section)


def test_with_fields_reports_every_unknown_field():
    with pytest.raises(StudyFileError) as caught:
        with_fields(make_profile(), {"train.epochs": 1, "learning_rate": 1, "train": 2}, "--set")
    assert lines_of(caught)[:2] == [
        "--set: unknown field 'train.epochs'; did you mean 'train.num_epochs'?",
        "--set: unknown field 'learning_rate'; did you mean 'train.learning_rate'?",
    ]
    assert (
        lines_of(caught)[2] == f"--set: unknown field 'train'; valid are {', '.join(field_paths())}"
    )


def test_with_fields_reports_every_invalid_value():
    fields = {"train.learning_rate": -1e-3, "train.num_epochs": "3", "decode.top_p": 0.5}
    with pytest.raises(StudyFileError) as caught:
        with_fields(make_profile(), fields, "--set")
    assert lines_of(caught) == [
        "--set: train.num_epochs: must be a valid integer, got '3'",
        "--set: train.learning_rate: must be greater than 0, got -0.001",
    ]


def test_the_user_s_fields_override_the_study_s_and_those_the_profile_s():
    study = make_study(
        overrides={"train.num_epochs": 5, "train.batch_size": 32, "train.eval_steps": 9},
        profile_overrides={"mini": {"train.batch_size": 64, "train.eval_steps": 8}},
    )
    profile = study_profile(study, "mini", make_profile(), {"train.eval_steps": 7})
    train = profile.train
    assert (train.num_epochs, train.batch_size, train.eval_steps) == (5, 64, 7)


def test_profile_overrides_apply_to_one_profile_only():
    study = make_study(profile_overrides={"mini": {"data.num_train": 77}})
    assert study_profile(study, "mini", make_profile(), {}).data.num_train == 77
    assert study_profile(study, "notebook", make_profile(), {}).data.num_train == 100


def test_varied_fields_cannot_be_set():
    study = make_study({"strategy": CASES, "train.label_smoothing": [0.0, 0.1]})
    chosen = {"train.label_smoothing": 0.2, "decode.num_beams": 3, "train.num_epochs": 1}
    with pytest.raises(StudyFileError) as caught:
        study_profile(study, "mini", make_profile(), chosen)
    remedy = "remove it, or change vary in a study file of your own"
    assert lines_of(caught) == [
        f"--set decode.num_beams: study s varies this field, got 3; {remedy}",
        f"--set train.label_smoothing: study s varies this field, got 0.2; {remedy}",
    ]


def test_faults_of_all_overrides_are_reported_at_once():
    study = make_study(
        overrides={"data.train_fraction": 0.001},
        profile_overrides={"mini": {"data.train_fraction": 0.002}},
    )
    with pytest.raises(StudyFileError) as caught:
        study_profile(study, "mini", make_profile(), {"train.num_epochs": 0})
    rule = "data.train_fraction: must leave at least one of 100 examples, got"
    assert lines_of(caught) == [
        f"study s: overrides: {rule} 0.001",
        f"study s: profile_overrides.mini: {rule} 0.002",
        "--set: train.num_epochs: must be greater than or equal to 1, got 0",
    ]


def test_factors_are_scaled_by_the_profile():
    study = random_study({"train.learning_rate": FACTORS}, 3)
    profile = make_profile(train={"learning_rate": 4e-3})
    space = domains(study, profile)["train.learning_rate"]
    assert (space.low, space.high, space.times_default) == (2e-3, 8e-3, False)
    for point in settings(study, profile):
        assert 2e-3 <= point.fields["train.learning_rate"] <= 8e-3


@pytest.mark.parametrize(
    ("path", "data", "default"),
    [
        ("data.num_train", {"num_train": None}, None),
        ("train.warmup_fraction", {}, 0.0),
        ("student.source", {}, "mini"),
    ],
)
def test_factors_need_a_number_to_multiply(path, data, default):
    study = random_study({path: FACTORS}, 3)
    with pytest.raises(StudyFileError) as caught:
        domains(study, make_profile(data=data))
    assert str(caught.value) == (
        f"study s: vary: {path}: times_default needs a number above 0 in the profile, "
        f"got {default!r}; give low and high in the field's own unit"
    )


def test_every_invalid_value_of_a_domain_is_reported():
    vary = {
        "train.label_smoothing": [0.0, 1.0, -0.1],
        "train.learning_rate": {"type": "uniform", "low": -1, "high": 1},
        "train.batch_size": {"type": "int", "low": 0, "high": 4},
        "data.train_fraction": {"type": "uniform", "low": 0.5, "high": 1.5},
        "how": {
            "type": "cases",
            "cases": {"a": {"decode.num_beams": 1}, "b": {"decode.num_beams": 2}},
        },
    }
    search = {"method": "random", "num_samples": 3}
    assert study_faults(vary, search=search) == [
        "my.yaml: vary.train.label_smoothing: must be less than 1, got 1.0",
        "my.yaml: vary.train.label_smoothing: must be greater than or equal to 0, got -0.1",
        "my.yaml: vary.train.learning_rate: must be greater than 0, got -1.0",
        "my.yaml: vary.train.batch_size: must be greater than or equal to 1, got 0",
        "my.yaml: vary.data.train_fraction: must be less than or equal to 1, got 1.5",
        "my.yaml: vary.how.a.decode.num_beams: must be greater than or equal to 2, got 1",
    ]


def test_factors_that_scale_to_invalid_values_are_reported():
    vary = {"train.label_smoothing": {**FACTORS, "low": 0.5, "high": 20}}
    with pytest.raises(StudyFileError) as caught:
        domains(random_study(vary, 3), make_profile(train={"label_smoothing": 0.1}))
    told = "study s: vary: train.label_smoothing: must be less than 1, got 2.0"
    assert lines_of(caught) == [told]


def test_real_numbers_do_not_fit_a_whole_field():
    vary = {"train.batch_size": {"type": "uniform", "low": 8, "high": 16}}
    told = study_faults(vary, search={"method": "random", "num_samples": 3})
    assert told[0] == "my.yaml: vary.train.batch_size: must be a valid integer, got 8.0"


def test_a_grid_is_every_combination_in_the_order_written():
    vary = {
        "strategy": CASES,
        "train.num_epochs": {"type": "int", "low": 1, "high": 5, "step": 2},
        "student.revision": ["v1", None],
    }
    points = settings(make_study(vary), make_profile())
    assert [tuple(point.values.values()) for point in points] == list(
        itertools.product(["greedy", "beam 2"], [1, 3, 5], ["v1", None])
    )
    assert points[-1] == Setting(
        values={"strategy": "beam 2", "num_epochs": 5, "revision": None},
        fields={
            "decode.strategy": "beam",
            "decode.num_beams": 2,
            "train.num_epochs": 5,
            "student.revision": None,
        },
    )


def test_a_setting_holds_the_values_of_its_point():
    study = make_study({"student.source": ["a", "b"], "strategy": CASES})
    space = domains(study, make_profile())
    assert setting(study, space, {"student.source": "b", "strategy": "greedy"}) == Setting(
        {"student": "b", "strategy": "greedy"},
        {"student.source": "b", "decode.strategy": "greedy"},
    )


VARIES = st.fixed_dictionaries(
    {"train.learning_rate": st.just({"type": "loguniform", "low": 1e-5, "high": 1e-2})},
    optional={
        "train.label_smoothing": st.just({"type": "uniform", "low": 0, "high": 0.3}),
        "train.num_epochs": st.just({"type": "int", "low": 1, "high": 4}),
        "train.batch_size": st.just([4, 8]),
        "strategy": st.just(CASES),
    },
)


@examples(max_examples=40, deadline=None)
@given(VARIES, st.integers(0, 1000), st.integers(1, 12), st.integers(0, 12))
def test_random_settings_are_a_prefix_of_more_random_settings(vary, seed, fewer, extra):
    profile = make_profile()
    short = settings(random_study(vary, fewer, seed), profile)
    long = settings(random_study(vary, fewer + extra, seed), profile)
    assert len(short) == fewer
    assert len(long) == fewer + extra
    assert long[:fewer] == short


@examples(max_examples=40, deadline=None)
@given(VARIES, st.integers(0, 1000))
def test_random_settings_are_valid_and_differ(vary, seed):
    profile = make_profile()
    points = settings(random_study(vary, 10, seed), profile)
    for point in points:
        assert isinstance(with_fields(profile, point.fields, "here"), Profile)
    assert len({tuple(point.values.values()) for point in points}) == 10


def test_another_seed_draws_other_settings():
    vary = {"train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2}}
    one, other = (settings(random_study(vary, 5, seed), make_profile()) for seed in (0, 1))
    assert not {p.fields["train.learning_rate"] for p in one} & {
        p.fields["train.learning_rate"] for p in other
    }


def test_random_draws_stop_when_a_small_space_is_exhausted():
    points = settings(random_study({"train.batch_size": [4, 8, 16]}, 50), make_profile())
    assert sorted(point.fields["train.batch_size"] for point in points) == [4, 8, 16]


def test_a_search_prepares_every_corpus_and_pool_it_may_choose():
    study = make_study(
        vary={
            "data.source": ["mini-nli", "./esnli"],
            "data.num_train": [100, 300],
            "train.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        },
        search={"method": "optuna", "num_samples": 4},
    )
    profiles = input_profiles(study, make_profile())
    chosen = {(profile.data.source, profile.data.num_train) for profile in profiles}
    assert chosen == {
        ("mini-nli", 100),
        ("mini-nli", 300),
        ("./esnli", 100),
        ("./esnli", 300),
    }


SHIPPED_BASELINES = {
    "smoothing": {"label_smoothing": 0.1},
    "temperature": {"temperature": 1.0},
    "data_size": {"train_fraction": 1.0},
    "decoding": {"strategy": "greedy"},
    "learning_rate": {"learning_rate": 2e-3},
    "sequence_length": {"max_source_length": 128, "max_target_length": 64},
}


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_has_the_profile_as_its_baseline(name):
    study = load_study(name)
    profile = study_profile(study, "mini", load_profile("mini"), {})
    found = baseline(study, profile)
    assert found.values == SHIPPED_BASELINES[name]
    assert with_fields(profile, found.fields, "here") == profile
    if study.search.method == "grid":
        assert found in settings(study, profile)


MIXED = {
    "strategy": CASES,
    "train.batch_size": [8, 32],
    "train.num_epochs": {"type": "int", "low": 1, "high": 7, "step": 2},
    "train.warmup_fraction": {"type": "uniform", "low": 0, "high": 0.5},
    "student.revision": ["v1", None],
}


def test_a_baseline_has_the_studys_values_and_otherwise_the_profiles():
    study = make_study(
        MIXED,
        search={"method": "random", "num_samples": 2},
        baseline={"strategy": "beam 2", "train.batch_size": 8, "train.warmup_fraction": 0},
    )
    found = baseline(study, make_profile())
    assert found == Setting(
        values={
            "strategy": "beam 2",
            "batch_size": 8,
            "num_epochs": 3,
            "warmup_fraction": 0.0,
            "revision": None,
        },
        fields={
            "decode.strategy": "beam",
            "decode.num_beams": 2,
            "train.batch_size": 8,
            "train.num_epochs": 3,
            "train.warmup_fraction": 0.0,
            "student.revision": None,
        },
    )
    # A range's values are floats in any notation, because trials are named after them.
    assert repr(found.values["warmup_fraction"]) == "0.0"


def test_a_baseline_has_the_domains_notation():
    study = make_study({"train.weight_decay": [0, 1]}, baseline={"train.weight_decay": 1.0})
    own = make_study({"train.weight_decay": [0, 1]})
    for each in (study, own):
        found = baseline(each, make_profile(train={"weight_decay": 1.0}))
        assert repr(found.values["weight_decay"]) == "1"


def test_a_named_case_is_the_baseline_even_if_another_equals_the_profile():
    cases = {"plain": {"train.num_epochs": 3}, "same": {"train.num_epochs": 3}}
    vary = {"how": {"type": "cases", "cases": cases}}
    assert baseline(make_study(vary), make_profile()).values == {"how": "plain"}
    chosen = make_study(vary, baseline={"how": "same"})
    assert baseline(chosen, make_profile()).values == {"how": "same"}


def test_a_directory_equals_the_profiles_in_any_notation(tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path)
    study = make_study({"data.source": ["mini-nli", "./ours"]})
    found = baseline(study, make_profile(data={"source": "./ours"}))
    assert found == Setting({"data": "./ours"}, {"data.source": absolute_source("./ours")})


@pytest.mark.parametrize(
    "vary",
    [
        {"train.batch_size": [8, 32]},
        {"train.batch_size": {"type": "int", "low": 8, "high": 32, "step": 16}},
        {"train.learning_rate": {"type": "loguniform", "low": 1e-3, "high": 1e-2}},
        {"data.num_validation": {"type": "int", "low": 8, "high": 32}},
        {"how": {"type": "cases", "cases": {"a": {"train.num_epochs": 3, "decode.top_k": 9}}}},
        {"train.label_smoothing": [0.0, 0.1], "train.batch_size": [8, 32]},
    ],
)
def test_there_is_no_baseline_if_a_domain_lacks_the_profiles_value(vary):
    study = make_study(vary, search={"method": "random", "num_samples": 2})
    assert baseline(study, make_profile()) is None


def test_a_baseline_outside_the_scaled_range_is_reported_with_the_profile():
    study = make_study(
        {"train.learning_rate": FACTORS},
        search={"method": "random", "num_samples": 2},
        baseline={"train.learning_rate": 1.0},
    )
    profile = make_profile(train={"learning_rate": 0.25})
    with pytest.raises(StudyFileError) as caught:
        domains(study, profile)
    assert lines_of(caught) == [
        "study s: baseline.train.learning_rate: must be a number from 0.125 to 0.5, got 1.0; "
        "choose another, or widen vary"
    ]
    wide = make_profile(train={"learning_rate": 0.5})
    assert baseline(study, wide).values == {"learning_rate": 1.0}
