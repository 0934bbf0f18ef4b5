"""Grounding is the share of an explanation's content words that are in the input texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_distill.tasks.metrics.grounding import grounded_share

WORDS = "The dogs dog running runs ran a women's sitting cafe 2 , - it's"
TEXTS = st.lists(st.sampled_from(WORDS.split())).map(" ".join)

INPUTS = ("A man plays the guitar.", "A person is playing.")


def test_grounding_sees_words_of_any_script():
    assert grounded_share("दो लड़के दौड़ रहे हैं", ["दो लड़के दौड़ रहे हैं", ""]) == 1.0
    assert grounded_share("女人", ["一个女孩"]) == 0.5


def test_grounding_by_hand():
    # Content words: man, play, piano. The premise has a man who plays a guitar, but no piano.
    assert grounded_share("The man is playing a piano.", INPUTS) == pytest.approx(2 / 3)
    assert grounded_share("persons", INPUTS) == 1.0
    assert grounded_share("Piano, piano and piano; a man", INPUTS) == 0.5


@pytest.mark.parametrize("text", ["", "?!", "It is not the", "isn't", "🙂"])
def test_without_content_words_there_is_no_grounding(text):
    assert grounded_share(text, INPUTS) is None


@given(TEXTS, TEXTS, TEXTS)
@settings(deadline=None)
def test_grounding_is_a_share_and_repeating_changes_nothing(text, premise, hypothesis):
    share = grounded_share(text, [premise, hypothesis])
    assert share is None or 0.0 <= share <= 1.0
    assert grounded_share(f"{text} {text}", [premise, hypothesis]) == share
    assert grounded_share(text, [premise, f"{hypothesis} {text}"]) in (None, 1.0)
