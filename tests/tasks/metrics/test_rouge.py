"""ROUGE equals that of rouge-score on ASCII texts, and counts words of every script."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tune_distill.tasks.metrics.rouge import rouge

# Words that Porter's stemmer merges or not, and text that its tokeniser drops or splits.
WORDS = "The dogs dog running runs ran a women's sitting cafe 2 , - it's"
TEXTS = st.lists(st.sampled_from(WORDS.split())).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
@settings(max_examples=200, deadline=None)
def test_rouge_is_rouge_scores_to_the_last_bit(references, text):
    assume(any(re.search("[a-z0-9]", each) for each in references))
    oracle = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    best = oracle.score_multi(references, text)
    assert rouge(tuple(references), text) == tuple(score.fmeasure for score in best.values())


ASCII = st.text(st.characters(max_codepoint=127), max_size=60)


@given(ASCII, ASCII)
@settings(max_examples=300, deadline=None)
def test_rouge_is_rouge_scores_on_any_ascii_text(reference, text):
    oracle = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = oracle.score(reference, text)
    if re.search("[A-Za-z0-9]", reference):
        assert rouge((reference,), text) == tuple(score.fmeasure for score in scores.values())
    else:
        assert rouge((reference,), text) == (None, None, None)


@given(st.text(), st.text())
@settings(deadline=None)
def test_rouge_of_any_text_is_a_share_and_one_for_the_reference_itself(reference, text):
    found = rouge((reference,), text)
    assert found == (None, None, None) or all(0.0 <= value <= 1.0 for value in found)
    assert rouge((reference,), reference)[0] in (None, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "拥抱的女人不一定是姐妹",
        "सभी लोग बाहर खेल रहे हैं",
        "العربية لغة جميلة",
        "ผู้หญิงกอดกัน",
        "Die Bären mögen Äpfel",
    ],
)
def test_identical_texts_of_any_script_score_one(text):
    assert rouge((text,), text) == (1.0, 1.0, 1.0)


def test_words_with_umlauts_do_not_match_in_pieces():
    # Split at ä and ö, both would contain "b" and "m".
    assert rouge(("Bären mögen",), "Bäume mähen") == (0.0, 0.0, 0.0)


def test_chinese_is_scored_by_the_character_as_by_hand():
    # Two of four characters match, and they are adjacent.
    assert rouge(("女人拥抱",), "女人跑步") == (0.5, pytest.approx(1 / 3), 0.5)


def test_rouge_is_absent_where_no_reference_holds_a_word():
    assert rouge(("...", "?! 🙂"), "a dog") == (None, None, None)
    assert rouge(("...", "a dog"), "a dog") == (1.0, 1.0, 1.0)
    assert rouge(("a dog",), "...") == (0.0, 0.0, 0.0)


def test_rouge_by_hand():
    # Stems: run dog | run fast dog. Unigrams 2 of 2 and 2 of 3, no bigram, common sequence run-dog.
    assert rouge(("running fast dogs",), "runs dog") == pytest.approx((0.8, 0.0, 0.8))


def test_rouge_takes_the_best_reference_of_each_type():
    # Unigrams prefer the first reference (3 of 3 against 2 of 3), bigrams the second.
    rouge1, rouge2, _ = rouge(("cat big the", "the big dog"), "the big cat")
    assert (rouge1, rouge2) == (1.0, 0.5)
