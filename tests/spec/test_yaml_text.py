"""Limits on YAML: a small file must neither hang the command nor exhaust its memory."""

import pytest
import yaml

from tune_distill.spec.yaml_text import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES, parse_yaml


def told(text):
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml(text)
    return str(caught.value)


def nested(use, levels, width):
    """Return nested mappings or lists, each with `width` aliases of the one before it."""
    lines = ["l0: &l0 {a: 1}" if use == "<<" else "l0: &l0 [1]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*l{level - 1}"] * width)
        of = f"{{<<: [{aliases}]}}" if use == "<<" else f"[{aliases}]"
        lines.append(f"l{level}: &l{level} {of}")
    return "\n".join(lines)


@pytest.mark.parametrize("use", ["<<", "list"])
def test_aliases_count_as_often_as_they_are_used(use):
    assert len(nested(use, 9, 9)) < 1000
    assert told(nested(use, 9, 9)).startswith(f"it may stand for {MAX_NODES:,} keys and values")
    assert parse_yaml(nested(use, 4, 3))["l1"] == ({"a": 1} if use == "<<" else [[1]] * 3)


def test_an_alias_inside_its_own_target_is_refused():
    assert told("a: &a [*a]").startswith("an alias must not stand inside of what it names")
    assert told("&a {b: *a}").startswith("an alias must not stand inside of what it names")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused(opening):
    assert told(opening * 5000).startswith(f"it may be nested {MAX_DEPTH} deep (line 1, column ")


def test_a_long_text_is_refused_by_its_length():
    assert told("#" * (MAX_CHARACTERS + 1)).startswith(f"it may have {MAX_CHARACTERS:,} characters")


@pytest.mark.parametrize(
    "text",
    ["!!python/name:os.system", "!!int ''", "!!float x", "!!bool x", "!!timestamp x", "!!set {a}"],
)
def test_tags_are_refused_by_name(text):
    assert told(f"a: {text}").startswith(f"tags such as tag:yaml.org,2002:{text[2:].split()[0]} ")


def test_a_text_that_no_file_can_hold_is_refused():
    assert told('a: "\\ud800"').startswith("a text must be Unicode, without lone surrogates")


def test_a_text_may_be_tagged_as_a_text():
    assert parse_yaml("a: !!str 12\nb: 12") == {"a": "12", "b": 12}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("0x1f", 31),
        ("-7", -7),
        ("5e-5", 5e-5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e9999", float("inf")),
        # Read like in editors, which follow YAML 1.2.
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-12-24", "2024-12-24"),
        # Too large for a table's 64-bit integer.
        ("9" * 19, "9" * 19),
        ("0x" + "f" * 20000, "0x" + "f" * 20000),
        # These took a minute when the pattern could match digits in several ways.
        ("1" * 40_000, "1" * 40_000),
        ("1_1" * 20_000 + ".x", "1_1" * 20_000 + ".x"),
    ],
)
def test_numbers_and_texts_that_look_like_numbers(text, value):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


def test_a_mapping_has_one_merge_key():
    text = "{<<: {a: 1}, <<: {a: 2}}"
    assert told(text).startswith("key '<<' stands twice")


def test_many_keys_are_compared_in_one_pass():
    keys = ", ".join(f"k{number}" for number in range(10_000))
    assert len(parse_yaml(f"{{{keys}}}")) == 10_000
    assert told(f"{{{keys}, k5}}").startswith("key 'k5' stands twice")
