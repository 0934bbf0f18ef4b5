import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nli import LABELS, NLI, pair
from tune_distill.tasks.task import ParsedOutput

EXAMPLE = pair("7", "A man runs.", "He moves.", "neutral", ("Men run.", "He runs."))


def parse(text):
    return NLI.parse(text, EXAMPLE)


def test_the_format_that_students_read_and_write():
    assert NLI.source_text(EXAMPLE) == "nli premise: A man runs. hypothesis: He moves."
    assert NLI.target_text(EXAMPLE) == "neutral explanation: Men run."


@given(st.sampled_from(LABELS), st.text())
def test_a_target_is_read_back(label, explanation):
    target = NLI.target_text(pair("", "a", "b", label, (explanation,)))
    assert parse(target) == ParsedOutput(label, explanation.strip())


@given(st.sampled_from(LABELS), st.text(), st.data())
def test_neither_case_nor_leading_space_matters(label, explanation, data):
    shouted = data.draw(st.sampled_from([label.upper(), label.title(), label.swapcase()]))
    text = f"  {shouted} Explanation: {explanation}"
    assert parse(text) == ParsedOutput(label, explanation.strip())


@given(st.text() | st.builds("{}{}".format, st.sampled_from(LABELS), st.text()))
def test_any_text_parses_to_a_known_label_or_none(text):
    assert parse(text).label in (*LABELS, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "neutrality explanation: a longer word is no label",
        "neutralité explanation: in no language",
        "neutral1",
        "contrad\N{LATIN SMALL LETTER DOTLESS I}ction explanation: a letter that no label holds",
        "the label is neutral",
        "explanation: neutral because it may be so",
        "not neutral",
    ],
)
def test_a_label_counts_only_as_a_whole_word_at_the_start(text):
    assert parse(text).label is None


def test_punctuation_ends_a_label():
    assert parse("Neutral: explanation: maybe").label == "neutral"


def test_the_first_label_is_the_answer():
    parsed = parse("neutral explanation: no contradiction, no entailment")
    assert parsed == ParsedOutput("neutral", "no contradiction, no entailment")


def test_without_the_marker_there_is_no_explanation():
    assert parse("neutral the man may be asleep") == ParsedOutput("neutral", "")
    assert parse("a man is asleep") == ParsedOutput(None, "")


def test_the_explanation_of_an_unparsable_label_is_kept():
    assert parse("neutrla explanation: may be") == ParsedOutput(None, "may be")


def test_the_explanation_starts_at_the_first_marker():
    assert parse("neutral explanation: a explanation: b").explanation == "a explanation: b"
