import pytest

from tests.spec.fakes import study_faults
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import FaultsError, nearest, raise_faults, raise_value_faults


def test_the_nearest_name_is_suggested():
    assert nearest("smothing", ["smoothing", "temperature"]) == "; did you mean 'smoothing'?"
    assert nearest("xyz", ["smoothing", "temperature"]) == "; valid are smoothing, temperature"
    # The letters differ too much, but it is the name without its section.
    assert nearest("k", ["decode.top_p", "decode.k"]) == "; did you mean 'decode.k'?"


def test_no_faults_raise_nothing_and_several_are_raised_at_once():
    raise_faults([])
    raise_value_faults([])
    with pytest.raises(StudyFileError, match=r"^a\nb$"):
        raise_faults(["a", "b"])
    with pytest.raises(FaultsError, match=r"^a; b$") as caught:
        raise_value_faults(["a", "b"])
    assert caught.value.lines == ["a", "b"]


@pytest.mark.parametrize("key", ["values", "cases", "int", "uniform", "loguniform"])
def test_a_key_named_like_a_domain_s_type_is_kept_in_the_path(key):
    valid = "type, grace_fraction, reduction_factor"
    told = study_faults(
        metric={"name": "eval_loss", "mode": "min"}, scheduler={"type": "asha", key: 1}, **{key: 1}
    )
    assert told[0] == f"my.yaml: scheduler.{key}: unknown key; valid are {valid}"
    assert told[1].startswith(f"my.yaml: {key}: unknown key; valid are name, question, vary, ")
    assert len(told) == 2


def test_a_domain_s_type_is_left_out_only_below_vary():
    assert study_faults(profile_overrides={"mini": {"values": [1]}}) == [
        "my.yaml: profile_overrides.mini.values: must be a text, a finite number or null, got [1]"
    ]


def test_a_key_that_is_not_a_text_is_a_fault():
    assert study_faults({1: [2]}) == ["my.yaml: vary.1.[key]: must be a valid string, got 1"]
