"""An example's digest depends on its texts and label only."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from tests.nli import LABELS, pair

EXAMPLE = pair("7", "A dog runs.", "Ein Hund läuft.", "neutral", ("One.", "Two."))


def test_labels_are_in_the_order_of_the_hubs_numbers() -> None:
    assert dict(enumerate(LABELS)) == {0: "entailment", 1: "neutral", 2: "contradiction"}


def test_the_digest_is_the_same_in_every_version() -> None:
    # Keys of stored runs contain this digest, so a change of it would lose them.
    text = "11:A dog runs.15:Ein Hund läuft.7:neutral4:One.4:Two."
    assert EXAMPLE.digest() == hashlib.sha256(text.encode()).digest()


def test_the_digest_does_not_depend_on_the_id() -> None:
    assert replace(EXAMPLE, example_id="8").digest() == EXAMPLE.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": ("A dog runs", "Ein Hund läuft.")},
        {"inputs": ("A dog runs.", "")},
        {"label": "entailment"},
        {"explanations": ("Two.", "One.")},
        {"explanations": ("One.Two.",)},
        {"explanations": ("One.T", "wo.")},
        {"inputs": ("A dog runs.E", "in Hund läuft.")},
        {"inputs": ("A dog runs.Ein Hund läuft.",)},
        {"choices": ("neutral", "One.")},
    ],
)
def test_the_digest_depends_on_every_text_and_the_label(change: dict[str, object]) -> None:
    assert replace(EXAMPLE, **change).digest() != EXAMPLE.digest()
