import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.records.examples import LABELS
from tune_distill.tasks.outputs import ParsedOutput, parse_output, source_text, target_text


def test_the_format_that_students_read_and_write():
    assert (
        source_text("A man runs.", "He moves.") == "nli premise: A man runs. hypothesis: He moves."
    )
    assert target_text("neutral", "Men run.") == "neutral explanation: Men run."


@given(st.sampled_from(LABELS), st.text())
def test_a_target_is_read_back(label, explanation):
    assert parse_output(target_text(label, explanation)) == ParsedOutput(label, explanation.strip())


@given(st.sampled_from(LABELS), st.text(), st.data())
def test_neither_case_nor_leading_space_matters(label, explanation, data):
    shouted = data.draw(st.sampled_from([label.upper(), label.title(), label.swapcase()]))
    text = f"  {shouted} Explanation: {explanation}"
    assert parse_output(text) == ParsedOutput(label, explanation.strip())


@given(st.text() | st.builds("{}{}".format, st.sampled_from(LABELS), st.text()))
def test_any_text_parses_to_a_known_label_or_none(text):
    assert parse_output(text).label in (*LABELS, None)


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
    assert parse_output(text).label is None


def test_punctuation_ends_a_label():
    assert parse_output("Neutral: explanation: maybe").label == "neutral"


def test_the_first_label_is_the_answer():
    parsed = parse_output("neutral explanation: no contradiction, no entailment")
    assert parsed == ParsedOutput("neutral", "no contradiction, no entailment")


def test_without_the_marker_there_is_no_explanation():
    assert parse_output("neutral the man may be asleep") == ParsedOutput("neutral", "")
    assert parse_output("a man is asleep") == ParsedOutput(None, "")


def test_the_explanation_of_an_unparsable_label_is_kept():
    assert parse_output("neutrla explanation: may be") == ParsedOutput(None, "may be")


def test_the_explanation_starts_at_the_first_marker():
    assert parse_output("neutral explanation: a explanation: b").explanation == "a explanation: b"
