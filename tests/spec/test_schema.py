import copy
import json

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from tests.spec.fakes import make_study, resolved
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.schema import main, profile_schema, schema_texts, study_schema, task_schema
from tune_distill.spec.settings import domains
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import (
    dump_study,
    search_spaces_dir,
    shipped_profiles,
    shipped_studies,
)
from tune_distill.spec.yaml_text import parse_yaml

STUDIES = {name: search_spaces_dir() / f"{name}.yaml" for name in shipped_studies()}
PROFILES = {name: search_spaces_dir() / "profiles" / f"{name}.yaml" for name in shipped_profiles()}

TASKS = sorted((search_spaces_dir() / "tasks").glob("*.yaml"))

STUDY_VALIDATOR = Draft202012Validator(study_schema())
PROFILE_VALIDATOR = Draft202012Validator(profile_schema())


def read(text):
    """Return the content of the YAML, read like our files, in which 5e-5 is a number."""
    return parse_yaml(text)


def study(**changes):
    raw = {"name": "s", "question": "Why?", "vary": {"train.learning_rate": [1e-3, 1e-2]}}
    return {**raw, **changes}


def plan(raw):
    """Return the study's domains on a profile, after checking all of their values."""
    ready = resolved(Study.model_validate(raw))
    return domains(ready.study, ready.profile)


RANDOM = {"search": {"method": "random", "num_samples": 3}}


def vary(name, domain):
    return study(vary={name: domain})


def test_the_schema_files_are_up_to_date():
    for path, text in schema_texts().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tune_distill.spec.schema"
    named = {"study.schema.json", "profile.schema.json", "task.schema.json"}
    assert {path.name for path in schema_texts()} == named


def test_main_writes_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tune_distill.spec.schema.search_spaces_dir", lambda: tmp_path)
    main()
    assert json.loads((tmp_path / "study.schema.json").read_text()) == study_schema()
    assert json.loads((tmp_path / "profile.schema.json").read_text()) == profile_schema()
    assert json.loads((tmp_path / "task.schema.json").read_text()) == task_schema()
    assert capsys.readouterr().out.count("wrote ") == 3


def test_all_files_are_valid_schemas():
    Draft202012Validator.check_schema(task_schema())
    Draft202012Validator.check_schema(study_schema())
    Draft202012Validator.check_schema(profile_schema())


@pytest.mark.parametrize(
    "path", [*STUDIES.values(), *PROFILES.values(), *TASKS], ids=lambda path: path.stem
)
def test_every_shipped_file_points_to_a_schema_that_accepts_it(path):
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    target = first.removeprefix("# yaml-language-server: $schema=")
    assert target != first
    schema = json.loads((path.parent / target).read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(read(text))


def test_a_dumped_study_is_accepted():
    study = make_study(
        {"train.learning_rate": {"type": "loguniform", "low": 0.1, "high": 3}},
        search={"method": "optuna", "num_samples": 4},
    )
    STUDY_VALIDATOR.validate(read(dump_study(resolved(study))))


@pytest.mark.parametrize(
    "raw",
    [
        study(),
        vary("student.revision", ["v1", None]),
        vary("train.learning_rate", {"type": "values", "values": [1e-3]}),
        vary("train.learning_rate", {"type": "uniform", "low": 0.1, "high": 1}) | RANDOM,
        vary("train.batch_size", {"type": "int", "low": 1, "high": 9, "step": 2}),
        vary("how", {"type": "cases", "cases": {"hot one": {"decode.temperature": 2}}}),
        study(overrides={"data.num_train": None}, profile_overrides={"x": {"decode.top_k": 5}}),
        study(scheduler={"type": "asha"}, metric={"name": "eval_loss", "mode": "min"}),
        study(baseline={"train.learning_rate": 1e-2}),
        vary("student.revision", ["v1", None]) | {"baseline": {"student.revision": None}},
        vary("how", {"type": "cases", "cases": {"hot one": {"decode.temperature": 2}}})
        | {"baseline": {"how": "hot one"}},
    ],
)
def test_studies_that_are_accepted(raw):
    STUDY_VALIDATOR.validate(raw)
    plan(raw)


@pytest.mark.parametrize(
    "raw",
    [
        study(qestion="Why?"),
        study(vary={}),
        vary("train.learing_rate", [1e-3]),
        vary("learning_rate", [1e-3]),
        vary("train.learning_rate", []),
        vary("train.learning_rate", [1e-3, 1e-3]),
        vary("train.learning_rate", [-1e-3]),
        vary("train.learning_rate", ["1e-3"]),
        vary("train.learning_rate", {"low": 1, "high": 2}),
        vary("train.learning_rate", {"type": "uniform", "low": 1, "high": 2, "hihg": 3}),
        vary("train.learning_rate", {"type": "loguniform", "low": 1}),
        vary("how", ["a", "b"]),
        vary("how", {"type": "cases", "cases": {"a": {"decode.temprature": 2}}}),
        vary("how", {"type": "cases", "cases": {"a": {}}}),
        vary("train.num_epochs", {"type": "cases", "cases": {"a": {"decode.top_k": 2}}}),
        study(overrides={"train.epochs": 3}),
        study(overrides={"train.num_epochs": 0}),
        study(profile_overrides={"mini": {"train.epochs": 3}}),
        study(baseline={"train.learing_rate": "1e-3"}),
        study(baseline={"train.learning_rate": -1}),
        study(baseline={"learning-rate": "low"}),
        study(baseline=["train.learning_rate"]),
        study(search={"method": "bayes"}),
        study(search={"num_sample": 3}),
        study(scheduler={"type": "median"}),
        study(metric={"name": "accuracy"}),
    ],
)
def test_studies_that_are_refused(raw):
    assert not STUDY_VALIDATOR.is_valid(raw)
    # The models refuse these studies too, so an editor marks no valid study.
    with pytest.raises((ValidationError, StudyFileError)):
        plan(raw)


@pytest.mark.parametrize("name", PROFILES)
def test_a_misspelt_key_or_wrong_value_of_a_profile_is_refused(name):
    raw = read(PROFILES[name].read_text(encoding="utf-8"))
    PROFILE_VALIDATOR.validate(raw)
    for section, field, value in [
        ("train", "learing_rate", 1e-3),
        ("train", "learning_rate", -1),
        ("train", "num_epochs", "3"),
        ("decode", "strategy", "bream"),
        ("data", "train_fraction", 1.5),
    ]:
        changed = copy.deepcopy(raw)
        changed[section][field] = value
        assert not PROFILE_VALIDATOR.is_valid(changed), (section, field)
    assert not PROFILE_VALIDATOR.is_valid({**raw, "trian": {}})
    assert not PROFILE_VALIDATOR.is_valid({k: v for k, v in raw.items() if k != "student"})
