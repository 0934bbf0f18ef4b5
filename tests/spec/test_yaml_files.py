from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.spec.fakes import FakeIdentities, lines_of, make_profile, make_study, resolved
from tune_distill.spec.domains import LogUniform, Values
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.plan import planned_trials
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import baseline
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import (
    STUDY_ORDER,
    dump_study,
    load_profile,
    load_study,
    parse_assignments,
    read_model,
    shipped_profiles,
    shipped_studies,
)

FAKES = FakeIdentities()

STUDY = """\
name: mine
question: Why?
vary:
  train.learning_rate: [5e-5, 1E-3, 2.e+1, .5e0, 0.1, 3]
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="my.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path, model=Study):
    """Return the lines that a user reads about a file, without its name."""
    with pytest.raises(StudyFileError) as caught:
        read_model(path, model)
    assert all(line.startswith(f"{path}: ") for line in lines_of(caught))
    return [line.removeprefix(f"{path}: ") for line in lines_of(caught)]


def test_the_shipped_studies_are_in_running_order():
    assert shipped_studies() == list(STUDY_ORDER)
    assert shipped_profiles() == ["esnli", "mini", "notebook"]
    for name in shipped_studies():
        assert load_study(name).name == name


def test_a_study_is_found_by_name_before_any_file(tmp_path, monkeypatch, write):
    write(STUDY, "smoothing")
    monkeypatch.chdir(tmp_path)
    assert load_study("smoothing").name == "smoothing"
    assert load_study("./smoothing").name == "mine"


def test_a_tilde_stands_for_the_user_s_home(tmp_path, monkeypatch, write):
    write(STUDY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_study("~/my.yaml").name == "mine"


def test_an_unknown_name_is_answered_with_the_nearest_or_all():
    with pytest.raises(StudyFileError) as caught:
        load_study("smothing")
    assert str(caught.value) == "smothing: no such study; did you mean 'smoothing'?"
    with pytest.raises(StudyFileError) as caught:
        load_profile("xyz")
    assert str(caught.value) == "xyz: no such profile; valid are esnli, mini, notebook"


@pytest.mark.parametrize("name", ["gone.yaml", "gone.yml", "./smoothing2", "/no/where"])
def test_an_unknown_path_is_answered_with_the_shipped_names(name):
    with pytest.raises(StudyFileError) as caught:
        load_study(name)
    shipped = ", ".join(STUDY_ORDER)
    assert str(caught.value) == f"{name}: no such study file; shipped are {shipped}"


def test_numbers_with_an_exponent_are_numbers(write):
    domain = read_model(write(STUDY), Study).vary["train.learning_rate"]
    assert domain == Values(values=[5e-5, 1e-3, 20.0, 0.5, 0.1, 3])
    assert [type(value) for value in domain.values] == [float] * 5 + [int]


def test_merged_mappings_are_not_repeated_keys(write):
    text = STUDY + "overrides: &all {train.num_epochs: 2}\n"
    text += "profile_overrides:\n  mini:\n    <<: *all\n    train.batch_size: 4\n"
    study = read_model(write(text), Study)
    assert study.profile_overrides == {"mini": {"train.num_epochs": 2, "train.batch_size": 4}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            STUDY + "name: again\n",
            "must be valid YAML, got key 'name' stands twice (line 5, column 1)",
        ),
        (
            STUDY + "overrides: {train.num_epochs: 1, train.num_epochs: 2}\n",
            "must be valid YAML, got key 'train.num_epochs' stands twice (line 5, column 34)",
        ),
        (STUDY + "search: {method: grid\n", None),
        ("\tname: x\n", None),
        ("{[a]: b}", None),
        ("a: !!python/object/apply:os.getcwd []", None),
    ],
)
def test_invalid_yaml_is_reported_in_one_line(write, text, told):
    lines = refused(write(text))
    assert len(lines) == 1
    assert lines[0].startswith("must be valid YAML, got ")
    assert told in (None, lines[0])


def test_a_syntax_error_says_where(write):
    path = write(STUDY + "search: {method: grid\n")
    assert refused(path) == [
        'must be valid YAML, got while parsing a flow mapping in "<unicode string>", line 5, '
        "column 9: search: {method: grid ^ expected ',' or '}', but got '<stream end>' in "
        '"<unicode string>", line 6, column 1: ^'
    ]


@pytest.mark.parametrize("text", ["2024-12-24", "2024-13-45", "1:30", "010"])
def test_dates_times_and_octals_are_texts(write, text):
    assert read_model(write(STUDY.replace("Why?", text)), Study).question == text


@pytest.mark.parametrize(
    ("text", "got"),
    [("", "an empty file"), ("# nothing\n", "an empty file"), ("- a\n", "list"), ("a", "str")],
)
def test_a_file_must_be_a_mapping(write, text, got):
    assert refused(write(text), Profile) == [
        f"must be a mapping with task, student, data, train, decode, metrics, got {got}"
    ]


def test_a_file_must_be_text(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes(b"name: \xff\xfe")
    (line,) = refused(path)
    assert line.startswith("must be a readable text file, got 'utf-8' codec can't decode byte 0xff")


def test_a_file_must_be_readable(tmp_path):
    (line,) = refused(tmp_path)
    assert line.startswith("must be a readable text file, got [Errno 21] Is a directory")


def test_all_faults_of_a_file_are_reported_at_once(write):
    text = """\
name: my study
vary:
  train.learning_rate: {type: loguniform, low: 0, high: 1}
  train.num_epochs: []
serach: {method: grid}
replicates: "3"
"""
    assert refused(write(text)) == [
        "name: must be 1 to 100 letters, digits, _ and -, the first a letter or digit, "
        "got 'my study'",
        "question: required, got nothing; add it",
        "vary.train.learning_rate: low of a loguniform must be > 0, got 0.0",
        "vary.train.num_epochs.values: must not be empty, got []",
        "replicates: must be a valid integer, got '3'",
        "serach: unknown key; did you mean 'search'?",
    ]


def test_assignments_are_read_as_yaml_reads_them():
    assert parse_assignments(
        [
            "train.learning_rate=5e-5",
            " train.num_epochs =3",
            "student.revision=null",
            "data.source=./a=b",
            "metrics.bertscore_model='12'",
            "student.source=2024-13-45",
            "decode.strategy=[",
            "train.num_epochs=4",
        ]
    ) == {
        "train.learning_rate": 5e-5,
        "train.num_epochs": 4,
        "student.revision": None,
        "data.source": "./a=b",
        "metrics.bertscore_model": "12",
        "student.source": "2024-13-45",
        "decode.strategy": "[",
    }


def test_an_assignment_needs_an_equals_sign():
    with pytest.raises(StudyFileError) as caught:
        parse_assignments(["train.num_epochs"])
    assert str(caught.value) == (
        "--set: must be field=value, got 'train.num_epochs'; for example train.num_epochs=1"
    )


ELSEWHERE = make_profile(
    student={"source": "elsewhere", "revision": "v9"},
    data={"source": "other", "num_train": 7, "num_validation": 3, "train_fraction": 0.9},
    train={"learning_rate": 0.5, "num_epochs": 9, "label_smoothing": 0.4},
    decode={"strategy": "beam", "num_beams": 3, "max_new_tokens": 5},
    metrics={"bertscore_model": "encoder"},
)


def same_again(original, tmp_path):
    """Return the dumped study on another profile, after checking that it plans the same trials."""
    path = tmp_path / "study.yaml"
    path.write_text(dump_study(original), encoding="utf-8")
    loaded = read_model(path, Study)
    again = resolved(loaded, ELSEWHERE, name="elsewhere", seeds=tuple(range(loaded.replicates)))
    assert again.profile == original.profile
    assert again.search_key(FAKES) == original.search_key(FAKES)
    if original.study.search.method == "optuna":
        return again
    one, other = (planned_trials(study, FAKES) for study in (original, again))
    for name in ("trial_id", "run_key", "evaluation_key"):
        assert [getattr(t, name) for t in other] == [getattr(t, name) for t in one]
    assert one
    return again


@pytest.mark.parametrize("profile", shipped_profiles())
@pytest.mark.parametrize("study", shipped_studies())
def test_a_dumped_study_runs_the_same_again(study, profile, tmp_path):
    chosen = {"train.num_epochs": 2, "student.source": "./here"}
    original = resolved(
        load_study(study), load_profile(profile), name=profile, chosen=chosen, seeds=(0, 1, 2)
    )
    again = same_again(original, tmp_path)
    assert again.seeds == (0, 1, 2)
    assert again.study.profile_overrides == {}


def test_a_dumped_random_search_of_factors_runs_the_same_again(tmp_path):
    factors = {"type": "loguniform", "low": 0.02, "high": 50, "times_default": True}
    study = make_study(
        {
            "train.learning_rate": factors,
            "data.num_train": [50, None],
            "how": {
                "type": "cases",
                "cases": {"no": {"student.revision": None}, "1e5": {"student.revision": "1e5"}},
            },
        },
        search={"method": "random", "num_samples": 6, "seed": 3},
    )
    original = resolved(study, make_profile(train={"learning_rate": 3e-4}))
    again = same_again(original, tmp_path)
    assert isinstance(again.study.vary["train.learning_rate"], LogUniform)


def test_a_dumped_baseline_is_kept(tmp_path):
    study = make_study(
        {"data.num_train": [50, None], "train.batch_size": [8, 16], "student.revision": ["1e5"]},
        baseline={"data.num_train": None, "student.revision": "1e5"},
    )
    original = resolved(study)
    again = same_again(original, tmp_path)
    assert again.study.baseline == study.baseline
    # This holds on another profile too, because the dump contains all fields.
    assert baseline(again.study, again.profile) == baseline(study, original.profile)
    assert baseline(again.study, again.profile).values["batch_size"] == 16


def test_a_dumped_study_says_where_it_comes_from():
    text = dump_study(resolved(make_study(), name="notebook"))
    assert text.startswith("# Resolved from profile notebook; runs the same again.\nname: s\n")
    assert yaml.safe_load(text)["overrides"]["train.learning_rate"] == 5e-5


TEXTS = st.one_of(
    st.text(alphabet, min_size=1)
    for alphabet in (st.characters(codec="utf-8"), "019eE+-._:", "a \n\r\t\x85\u2028'\"#")
)


@examples(deadline=None)
@given(TEXTS, st.none() | TEXTS, st.floats(0, 1e300, exclude_min=True))
def test_any_text_and_number_survives_the_dump(tmp_path_factory, source, revision, rate):
    profile = make_profile(
        student={"source": source, "revision": revision}, train={"learning_rate": rate}
    )
    path: Path = tmp_path_factory.mktemp("dump") / "study.yaml"
    path.write_text(dump_study(resolved(make_study(), profile)), encoding="utf-8")
    assert resolved(read_model(path, Study), ELSEWHERE).profile == profile


def test_a_name_too_long_for_a_file_is_no_study_and_no_profile():
    for load in (load_study, load_profile):
        for name in ("x" * 300, "x" * 300 + ".yaml"):
            with pytest.raises(StudyFileError, match="no such"):
                load(name)
