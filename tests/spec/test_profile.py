import pytest
from pydantic import ValidationError

from tests.spec.fakes import faults, make_profile
from tune_distill.spec.keys import flatten
from tune_distill.spec.profile import (
    Data,
    Decode,
    Profile,
    Student,
    Train,
    absolute_source,
    column_name,
    field_paths,
)

MINIMAL = {"student": {"source": "mini"}, "data": {"source": "mini-nli"}}


def test_a_profile_needs_only_a_student_and_data():
    profile = Profile.model_validate(MINIMAL)
    assert profile.train == Train.model_validate({})
    assert profile.decode.strategy == "greedy"
    assert profile.metrics.bertscore_model is None


def test_missing_sections_and_fields_are_named():
    assert faults(Profile, {"student": {}}) == [
        "my.yaml: student.source: required, got nothing; add it",
        "my.yaml: data: required, got nothing; add it",
    ]


@pytest.mark.parametrize(
    ("section", "name", "value", "rule"),
    [
        ("train", "learning_rate", -1e-3, "must be greater than 0, got -0.001"),
        ("train", "learning_rate", 0, "must be greater than 0, got 0"),
        ("train", "learning_rate", float("inf"), "must be a finite number, got inf"),
        ("train", "learning_rate", "5e-5", "must be a valid number, got '5e-5'"),
        ("train", "num_epochs", "3", "must be a valid integer, got '3'"),
        ("train", "num_epochs", True, "must be a valid integer, got True"),
        ("train", "num_epochs", 1.5, "must be a valid integer, got 1.5"),
        ("train", "label_smoothing", 1.0, "must be less than 1, got 1.0"),
        ("train", "warmup_fraction", 1.0, "must be less than 1, got 1.0"),
        ("train", "max_source_length", 3, "must be greater than or equal to 4, got 3"),
        ("data", "train_fraction", 0, "must be greater than 0, got 0"),
        ("data", "train_fraction", 1.1, "must be less than or equal to 1, got 1.1"),
        ("data", "num_validation", 0, "must be greater than or equal to 1, got 0"),
        ("data", "source", "", "must not be empty, got ''"),
        ("student", "revision", 12, "must be a valid string, got 12"),
        ("decode", "strategy", "bream", "must be 'greedy', 'beam' or 'sample', got 'bream'"),
        ("decode", "num_beams", 1, "must be greater than or equal to 2, got 1"),
        # Values beyond any machine are refused before a worker starts.
        ("train", "batch_size", 10**9, "must be less than or equal to 65536, got 1000000000"),
        ("decode", "num_beams", 10**6, "must be less than or equal to 1000, got 1000000"),
        ("decode", "num_samples", 10**6, "must be less than or equal to 10000, got 1000000"),
        ("decode", "max_new_tokens", 10**9, "must be less than or equal to 65536, got 1000000000"),
        ("decode", "temperature", 0.0, "must be greater than or equal to 0.000001, got 0.0"),
        ("decode", "top_p", 1.5, "must be less than or equal to 1, got 1.5"),
    ],
)
def test_every_field_enforces_its_rule(section, name, value, rule):
    raw = MINIMAL | {section: {**MINIMAL.get(section, {}), name: value}}
    assert faults(Profile, raw) == [f"my.yaml: {section}.{name}: {rule}"]


def test_a_whole_number_is_accepted_as_a_real_one():
    assert make_profile(train={"learning_rate": 1}).train.learning_rate == 1.0


def test_every_fault_is_reported_at_once():
    raw = {
        "student": {"source": "mini", "name": "x"},
        "data": {"source": "mini-nli", "num_train": 0},
        "train": {"learing_rate": 1e-3, "batch_size": "8"},
        "decoding": {},
    }
    told = faults(Profile, raw)
    assert sorted(told) == [
        "my.yaml: data.num_train: must be greater than or equal to 1, got 0",
        "my.yaml: decoding: unknown key; did you mean 'decode'?",
        "my.yaml: student.name: unknown key; valid are source, revision, kind",
        "my.yaml: train.batch_size: must be a valid integer, got '8'",
        "my.yaml: train.learing_rate: unknown key; did you mean 'learning_rate'?",
    ]


def test_a_section_must_be_a_mapping():
    assert faults(Profile, MINIMAL | {"train": 5}) == ["my.yaml: train: must be a mapping, got 5"]


def test_a_fraction_must_leave_an_example():
    data = {"source": "mini-nli", "num_train": 4, "train_fraction": 0.1}
    assert faults(Profile, MINIMAL | {"data": data}) == [
        "my.yaml: data.train_fraction: must leave at least one of 4 examples, got 0.1"
    ]
    assert make_profile(data={"num_train": 4, "train_fraction": 0.2}).data.num_train == 4
    # The number of examples in a whole source is known only when it is read.
    assert make_profile(data={"num_train": None, "train_fraction": 1e-6}).data.num_train is None


def test_profiles_are_immutable():
    profile = make_profile()
    with pytest.raises(ValidationError, match="frozen"):
        profile.train.num_epochs = 5


def test_field_paths_are_those_of_the_sections():
    paths = field_paths()
    assert paths[:3] == ("task.source", "student.source", "student.revision")
    assert "train.label_smoothing" in paths
    assert "metrics.bertscore_model" in paths
    assert paths == tuple(flatten(make_profile().model_dump()))


def test_columns_of_fields_differ_from_each_other():
    assert column_name("train.label_smoothing") == "label_smoothing"
    assert column_name("student.source") == "student"
    assert column_name("data.source") == "data"
    columns = [column_name(path) for path in field_paths()]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize(
    ("strategy", "reads"),
    [
        ("greedy", {"max_new_tokens"}),
        ("beam", {"num_beams", "max_new_tokens"}),
        ("sample", {"temperature", "top_k", "top_p", "num_samples", "max_new_tokens"}),
    ],
)
def test_a_strategy_reads_only_its_own_fields(strategy, reads):
    changed = {
        "num_beams": 7,
        "temperature": 0.3,
        "top_k": 11,
        "top_p": 0.5,
        "num_samples": 3,
        "max_new_tokens": 5,
    }
    plain = Decode.model_validate({"strategy": strategy})
    for name, value in changed.items():
        other = plain.model_copy(update={name: value})
        assert (other.in_effect() != plain.in_effect()) == (name in reads), name
    assert plain.in_effect()["strategy"] == strategy
    whole = plain.model_copy(update=changed)
    assert set(whole.in_effect()) == reads | {"strategy"}


def test_directories_that_exist_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "flan").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written in ("flan", "./flan", "~/flan", str(tmp_path / "flan")):
        assert Student(source=written).source == str(tmp_path / "flan")
        assert Data(source=written).source == str(tmp_path / "flan")


def test_built_ins_and_hub_ids_are_not_changed(tmp_path, monkeypatch):
    for name in ("mini", "mini-nli"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("mini", "mini-nli", "google/flan-t5-small", "./gone"):
        assert absolute_source(name) == name


def test_the_home_of_an_unknown_user_is_not_a_directory():
    assert absolute_source("~nobody-has-this-name/student") == "~nobody-has-this-name/student"


def test_a_source_too_long_for_a_file_name_is_a_name_like_others():
    """The file system refuses such a name with an error of its own."""
    for source in ("-" * 300 + "google/flan-t5-small", "/" + "x" * 300, "~" + "x" * 300):
        assert absolute_source(source) == source
