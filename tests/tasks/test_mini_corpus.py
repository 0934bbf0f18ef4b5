"""The embedded corpus is balanced, grammatical, leak-free and the same in every process."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.nli import LABELS
from tune_distill.records.examples import Example
from tune_distill.tasks.mini import lexicon as mini_lexicon
from tune_distill.tasks.mini.corpus import (
    MINI_CORPUS_VERSION,
    NUM_TRAIN,
    NUM_VALIDATION,
    mini_nli,
    vocabulary,
)

# Change the version with the examples, or stored runs would be reused for other examples.
DIGESTS = {1: "6e29c47d788fbc18df27d53db7ce3df0a0ee10602494d70278d5389a1a6a8073"}
# These words number the tokens of the student `mini`.
WORDS_DIGEST = "b751ca573aa0ac6b4222e395f7f8ef46f67d03cb4abecae6cb27099bea07457a"

DIGEST_SCRIPT = """
import hashlib
from tune_distill.tasks.mini.corpus import mini_nli, vocabulary
texts = (mini_nli("train"), mini_nli("validation"), vocabulary())
print(hashlib.sha256(repr(texts).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def train() -> list[Example]:
    return mini_nli("train")


@pytest.fixture(scope="module")
def validation() -> list[Example]:
    return mini_nli("validation")


def _texts(example: Example) -> tuple[str, ...]:
    return (*example.inputs, *example.explanations)


def test_the_examples_of_a_version_never_change(
    train: list[Example], validation: list[Example]
) -> None:
    content = b"".join(row.digest() for row in train + validation)
    assert hashlib.sha256(content).hexdigest() == DIGESTS[MINI_CORPUS_VERSION]


def test_the_words_of_a_version_never_change() -> None:
    assert hashlib.sha256(" ".join(vocabulary()).encode()).hexdigest() == WORDS_DIGEST


def test_another_hash_seed_gives_the_same_examples_and_words(
    train: list[Example], validation: list[Example]
) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", DIGEST_SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    texts = (train, validation, vocabulary())
    assert answer.stdout.strip() == hashlib.sha256(repr(texts).encode()).hexdigest()


def test_sizes_and_ids(train: list[Example], validation: list[Example]) -> None:
    assert (len(train), len(validation)) == (NUM_TRAIN, NUM_VALIDATION)
    ids = [example.example_id for example in train + validation]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_labels_are_balanced(split: str, request: pytest.FixtureRequest) -> None:
    examples: list[Example] = request.getfixturevalue(split)
    shares = Counter(example.label for example in examples)
    assert set(shares) == set(LABELS)
    for label in LABELS:
        assert shares[label] / len(examples) == pytest.approx(1 / 3, abs=0.02)


def test_splits_share_no_premise_and_no_pair_is_repeated(
    train: list[Example], validation: list[Example]
) -> None:
    assert not {row.inputs[0] for row in train} & {row.inputs[0] for row in validation}
    pairs = [row.inputs for row in train + validation]
    assert len(set(pairs)) == len(pairs)


def test_every_example_has_three_different_explanations(
    train: list[Example], validation: list[Example]
) -> None:
    for example in train + validation:
        assert len(set(example.explanations)) == 3
        assert all(text.endswith(".") for text in example.explanations)


def test_templates_are_filled_and_words_agree(
    train: list[Example], validation: list[Example]
) -> None:
    wrong = re.compile(
        r"[{}]|  "
        r"|\ba [aeio]\w*|\ban [^aeio]"
        r"|\bthe (?:men|women|boys|dogs) is\b|\bthe (?:man|woman|boy|girl|dog) are\b"
        r"|\bthey is\b|\b(?:he|she|it) are\b"
        r"|^(?:some|two|three) (?:people|children|animals|men|women|boys|girls|dogs|cats) is\b"
    )
    for example in train + validation:
        faults = [text for text in _texts(example) if wrong.search(text)]
        assert not faults


def test_pronouns_agree_with_the_subject(train: list[Example]) -> None:
    # "it" is left out, because "it is not stated that" and "doing it" do not refer to a subject.
    others = {
        "the man ": ("she", "her", "they", "their", "its"),
        "the woman ": ("he", "his", "they", "their", "its"),
        "the dogs ": ("he", "his", "she", "her", "its"),
        "the dog ": ("he", "his", "she", "her", "they", "their"),
    }
    for example in train:
        for subject, pronouns in others.items():
            if example.inputs[1].startswith(subject):
                words = set(re.findall(r"[a-z]+", f"{example.inputs[1]} {example.explanations[0]}"))
                assert not words & set(pronouns), example


def test_vocabulary_holds_every_word(train: list[Example], validation: list[Example]) -> None:
    words = {
        word
        for example in train + validation
        for text in _texts(example)
        for word in re.findall(r"[^\s.,]+", text)
    }
    assert words <= set(vocabulary())
    assert vocabulary() == sorted(set(vocabulary()))


def test_lexicon_activities_exclude_some_other_activity() -> None:
    for activities in mini_lexicon.ACTIVITIES.values():
        for activity in activities:
            assert any(other.posture != activity.posture for other in activities)


def _accuracy(train: list[Example], validation: list[Example], field: str) -> float:
    """Return the validation accuracy of a bag-of-n-grams classifier on one text of each example."""

    def texts(examples: list[Example]) -> list[str]:
        if field == "explanation":
            return [example.explanations[0] for example in examples]
        return [example.inputs[("premise", "hypothesis").index(field)] for example in examples]

    model = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    model.fit(texts(train), [example.label for example in train])
    return float(model.score(texts(validation), [example.label for example in validation]))


def test_an_explanation_nearly_gives_its_label_away(
    train: list[Example], validation: list[Example]
) -> None:
    assert 0.85 <= _accuracy(train[:500], validation, "explanation") <= 0.95


def test_a_premise_alone_tells_nothing_and_a_hypothesis_alone_not_all(
    train: list[Example], validation: list[Example]
) -> None:
    assert _accuracy(train[:2000], validation, "premise") < 0.40
    assert 0.70 <= _accuracy(train[:2000], validation, "hypothesis") <= 0.92


def test_rejects_an_unknown_split() -> None:
    with pytest.raises(KeyError):
        mini_nli("test")  # type: ignore[arg-type]
