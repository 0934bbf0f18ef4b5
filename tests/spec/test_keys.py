import copy
import hashlib
import json
import random
from dataclasses import replace
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from tests.spec.fakes import FakeIdentities, make_profile
from tune_distill.spec.effect import Neutral
from tune_distill.spec.keys import (
    ESNLI,
    Difference,
    canonical_json,
    differences,
    evaluation_identity,
    flatten,
    key_of,
    run_identity,
)
from tune_distill.spec.profile import Profile

# Without bools and whole floats: Python, unlike JSON, takes 1, 1.0 and True as equal.
LEAVES = st.none() | st.integers() | st.text() | st.floats().filter(lambda x: x % 1 > 0)
NAMES = st.text("abcde", min_size=1, max_size=3)
IDENTITIES = st.dictionaries(
    NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3), max_size=4
)


def shuffled(value, rng):
    """Return the mapping with its keys in another order, at every depth."""
    if not isinstance(value, dict):
        return value
    items = [(name, shuffled(inner, rng)) for name, inner in value.items()]
    rng.shuffle(items)
    return dict(items)


def test_canonical_json_has_sorted_keys_and_no_spaces():
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": float("nan")})


@given(IDENTITIES)
def test_canonical_json_is_read_back_unchanged(identity):
    assert json.loads(canonical_json(identity)) == identity


@given(IDENTITIES)
def test_canonical_json_equals_the_standard_librarys(identity):
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert canonical_json(identity) == text


def test_a_key_is_the_digest_of_its_identity():
    assert key_of({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


@given(IDENTITIES, st.randoms(use_true_random=False))
def test_keys_do_not_depend_on_the_order_of_fields(identity, rng):
    assert key_of(shuffled(identity, rng)) == key_of(identity)


@given(IDENTITIES, IDENTITIES)
def test_keys_are_equal_if_and_only_if_identities_are(one, other):
    assert (key_of(one) == key_of(other)) == (one == other)


@given(IDENTITIES, st.data())
def test_a_changed_field_changes_the_key_and_is_the_difference(identity, data):
    paths = sorted(flatten(identity))
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    changed = copy.deepcopy(identity)
    *parents, name = path.split(".")
    inner = changed
    for parent in parents:
        inner = inner[parent]
    was = inner[name]
    inner[name] = ("another", was)
    assert key_of(changed) != key_of(identity)
    assert differences(changed, identity) == [Difference(path, ("another", was), was)]


@given(IDENTITIES, IDENTITIES)
def test_there_are_no_differences_if_and_only_if_keys_are_equal(one, other):
    assert (not differences(one, other)) == (key_of(one) == key_of(other))


def test_differences_follow_the_wanted_order_then_those_only_stored():
    wanted = {"seed": 1, "train": {"learning_rate": 0.1, "batch_size": 8}, "new": None}
    stored = {"old": 3, "train": {"batch_size": 16, "learning_rate": 0.1}, "seed": 0}
    assert differences(wanted, stored) == [
        Difference("seed", 1, 0),
        Difference("train.batch_size", 8, 16),
        Difference("new", None, None),
        Difference("old", None, 3),
    ]


def test_a_field_that_is_left_out_differs_by_its_neutral_value():
    wanted = run_of(make_profile(train={"precision": "bf16", "label_smoothing": 0.0}))
    assert differences(wanted, run_of(make_profile())) == [
        Difference("train.precision", "bf16", "fp32"),
        Difference("train.label_smoothing", 0.0, 0.1),
    ]


def run_of(profile):
    """Return the run's identity."""
    fakes = FakeIdentities()
    return run_identity(
        profile,
        0,
        fakes.student_identity(profile.student),
        fakes.data_identity(profile.task, profile.data),
    )


def test_flatten_joins_every_level_with_dots():
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {
        "a.b.c": 1,
        "a.d": [2],
        "e": None,
    }


def keys(profile, seed=0):
    """Return the run key and the evaluation key of a profile."""
    fakes = FakeIdentities()
    data, encoder = (
        fakes.data_identity(profile.task, profile.data),
        fakes.encoder_identity(profile.metrics),
    )
    run = key_of(run_identity(profile, seed, fakes.student_identity(profile.student), data))
    return run, key_of(evaluation_identity(run, profile, data, encoder))


BASIS = {"train": {}, "data": {"num_validation": 50}, "decode": {"strategy": "sample"}}


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("train", "learning_rate", 1e-3),
        ("train", "eval_steps", 7),
        ("train", "ce_weight", 0.5),
        ("train", "precision", "bf16"),
        ("data", "num_train", 99),
        ("data", "train_fraction", 0.5),
        ("data", "source", "elsewhere"),
        ("student", "source", "other"),
        ("student", "revision", "v2"),
    ],
)
def test_fields_of_training_change_both_keys(section, field, value):
    changed = make_profile(**BASIS | {section: {**BASIS.get(section, {}), field: value}})
    run, evaluation = keys(make_profile(**BASIS))
    assert keys(changed)[0] != run
    assert keys(changed)[1] != evaluation


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("decode", "temperature", 0.5),
        ("decode", "num_samples", 5),
        ("decode", "max_new_tokens", 9),
        ("data", "num_validation", 49),
        ("metrics", "bertscore_model", "some/encoder"),
    ],
)
def test_fields_of_scoring_change_only_the_evaluation_key(section, field, value):
    changed = make_profile(**BASIS | {section: {**BASIS.get(section, {}), field: value}})
    run, evaluation = keys(make_profile(**BASIS))
    assert keys(changed)[0] == run
    assert keys(changed)[1] != evaluation


# Keys of this version. If one changes, every stored run is made again: raise RECIPE_VERSION or
# EVALUATION_VERSION if numbers changed, and otherwise restore the key.
GOLDEN = {
    "plain": (
        {},
        "9ea29aa9cc1aef07f2e3ce1cb22c55475f07d9048bf149b2e4dda84f3261895a",
        "8e21573fcb67dd4c1144ebd3f5377a172f1d925168f60b421e1e8484b2e39e0e",
    ),
    "beam": (
        {"decode": {"strategy": "beam", "num_beams": 2}},
        "9ea29aa9cc1aef07f2e3ce1cb22c55475f07d9048bf149b2e4dda84f3261895a",
        "b9719256549f9b6e8d32dcbcf4452ea0714231f47862332c5c0351698889e0b5",
    ),
    "sample": (
        {"decode": {"strategy": "sample", "temperature": 0.7, "num_samples": 2}},
        "9ea29aa9cc1aef07f2e3ce1cb22c55475f07d9048bf149b2e4dda84f3261895a",
        "65f868f7b67d4f841763e0d39d5961d75ce79b7404cf3e104ea6aac9ba1614c9",
    ),
    "bf16": (
        {"train": {"precision": "bf16"}},
        "e863aef4f250b44d53dda8075b12e55ccc89e0b607033ea1be3c5e65093628f1",
        "a0f1e8187f19051d87f92fb0baa9174e4cefba231b7456b9ee0c317a79585aac",
    ),
    "encoder": (
        {"metrics": {"bertscore_model": "an encoder"}},
        "9ea29aa9cc1aef07f2e3ce1cb22c55475f07d9048bf149b2e4dda84f3261895a",
        "42c5548d50232f8e205a1eec9f28203093bfacef02b0fe1b926eee945dd9f106",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_keys_equal_the_recorded_ones(name):
    sections, run_key, evaluation_key = GOLDEN[name]
    assert keys(make_profile(**sections)) == (run_key, evaluation_key)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("train", "precision", "fp32"),
        ("train", "label_smoothing", 0.0),
        ("train", "weight_decay", 0.0),
        ("train", "warmup_fraction", 0.0),
        ("train", "ce_weight", 1.0),
        ("decode", "temperature", 1.0),
        ("decode", "top_k", 0),
        ("decode", "top_p", 1.0),
        ("decode", "num_samples", 1),
        ("metrics", "bertscore_model", None),
    ],
)
def test_a_field_without_effect_changes_no_key(section, field, value):
    raw = {"decode": {"strategy": "sample"}} | {section: {field: value}}
    raw["decode"]["strategy"] = "sample"
    profile = make_profile(**raw)
    assert field not in getattr(profile, section).in_effect()


def widened(profile, section, name, annotation, default):
    """Return the profile of a later version, which has one more field with a default."""
    model = type(getattr(profile, section))
    later = create_model(f"Later{model.__name__}", __base__=model, **{name: (annotation, default)})
    value = later.model_validate(getattr(profile, section).model_dump())
    return profile.model_copy(update={section: value})


@pytest.mark.parametrize("section", ["student", "data", "train", "decode", "metrics"])
def test_a_new_field_with_a_neutral_default_changes_no_old_key(section):
    profile = make_profile(**BASIS)
    annotation = Annotated[int, Neutral(7)]
    later = widened(profile, section, "later", annotation, 7)
    assert getattr(later, section).later == 7
    assert keys(later) == keys(profile)
    # Any other value of the new field changes the evaluation key.
    other = widened(profile, section, "later", annotation, 8)
    assert keys(other)[1] != keys(profile)[1]
    assert (keys(other)[0] == keys(profile)[0]) == (section in ("decode", "metrics"))


def test_esnli_is_in_no_key_and_another_task_by_what_it_writes_and_reads():
    profile, fakes = make_profile(), FakeIdentities()
    student = fakes.student_identity(profile.student)

    def keys_of(task):
        data = replace(fakes.data_identity(profile.task, profile.data), task=task)
        run = key_of(run_identity(profile, 0, student, data))
        return run, key_of(evaluation_identity("run", profile, data, None))

    known = keys_of(ESNLI)
    writes, reads = replace(ESNLI, writing="other"), replace(ESNLI, reading="other")
    assert known == (keys_of(reads)[0], keys_of(writes)[1])
    assert keys_of(writes)[0] != known[0]
    assert keys_of(reads)[1] != known[1]


def test_an_unmarked_field_is_in_the_key():
    profile = make_profile(**BASIS)
    assert keys(widened(profile, "train", "later", int, 7))[0] != keys(profile)[0]


def test_every_section_lists_its_fields_in_effect():
    profile = make_profile(**BASIS)
    for section in Profile.model_fields:
        values = getattr(profile, section)
        assert values.in_effect().items() <= values.model_dump().items()
    # These sections name things outside the profile, whose content is in the keys.
    assert profile.student.in_effect() == profile.data.in_effect() == {}


def test_fields_that_the_strategy_does_not_read_change_no_key():
    plain = make_profile(**BASIS)
    beams = make_profile(**BASIS | {"decode": {"strategy": "sample", "num_beams": 8}})
    assert keys(beams) == keys(plain)


def test_the_seed_is_part_of_the_run():
    profile = make_profile()
    assert len({keys(profile, random.Random(n).randrange(9) + 10 * n) for n in range(3)}) == 3


def test_the_pool_behind_a_fraction_changes_the_evaluation_only():
    whole = make_profile(data={"num_train": 50})
    half = make_profile(data={"num_train": 100, "train_fraction": 0.5})
    # Both train on the same 50 examples, but the simulator is fitted on the whole pool.
    assert keys(whole)[0] == keys(half)[0]
    assert keys(whole)[1] != keys(half)[1]
