"""Words are found in every script, and in ASCII as by rouge-score and scikit-learn."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.tokenize import tokenize

from tune_distill.tasks.words import words

ASCII = st.text(st.characters(max_codepoint=127))


@given(ASCII)
def test_ascii_is_split_as_rouge_score_splits_it(text: str) -> None:
    assert words(text) == tokenize(text, None)


@given(ASCII)
def test_ascii_is_split_as_scikit_learn_splits_it(text: str) -> None:
    assert words(text, also="_") == re.findall(r"\w+", text.lower())


@given(ASCII)
def test_a_letter_beyond_ascii_changes_no_other_word(text: str) -> None:
    assert words(f"é {text}") == ["é", *words(text)]
    assert words(f"é {text}", also="_") == ["é", *words(text, also="_")]


@given(st.text())
def test_every_letter_is_in_a_word(text: str) -> None:
    folded = unicodedata.normalize("NFKC", text).lower()
    letters = sum(character.isalpha() or character.isdecimal() for character in folded)
    found = "".join(words(text))
    assert sum(character.isalpha() or character.isdecimal() for character in found) == letters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Die Bären, die Äpfel mögen", ["die", "bären", "die", "äpfel", "mögen"]),
        ("मैं हिन्दी में लिखता हूँ", ["मैं", "हिन्दी", "में", "लिखता", "हूँ"]),
        ("كلبٌ يجري.", ["كلبٌ", "يجري"]),
        ("개가 달린다", ["개가", "달린다"]),
        ("一个女人", ["一", "个", "女", "人"]),
        ("犬がT5で走る", ["犬", "が", "t5", "で", "走", "る"]),
        ("ก็ดี", ["ก็", "ดี"]),
        ("don’t", ["don", "t"]),
        ("🙂 ... —", []),
    ],
)
def test_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe\u0301", "café"),
        ("ＡＢＣ１", "abc1"),
        ("ﬁsh", "fish"),
        ("می\u200cخواهم", "میخواهم"),
        ("co\u00adoperate", "cooperate"),
    ],
)
def test_one_word_in_two_spellings_of_unicode(one: str, other: str) -> None:
    assert words(one) == words(other)
