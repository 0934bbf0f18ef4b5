"""Rows are those of HF's own tokenizer, whole or truncated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.nli import pair
from tests.tiny import load_tokenizer, mini_examples, tokenize_examples
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Student
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.students.tokens import TokenTable

# The first text spells out a special token; the last has no word that the tokenizer knows.
ODD = [
    pair("a", "He said </s> twice <pad>.", "He spoke.", "entailment", ("Said is spoke.", "No.")),
    pair("b", "Zürich 😀", "x", "neutral", ("ß",)),
]


def source(example: Example) -> str:
    return f"nli premise: {example.inputs[0]} hypothesis: {example.inputs[1]}"


def target(example: Example) -> str:
    return f"{example.label} explanation: {example.explanations[0]}"


def table(*lengths: int) -> TokenTable:
    """Return rows of these lengths; their tokens count up from 0, on from row to row."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenTable(np.arange(offsets[-1], dtype=np.int32), offsets.astype(np.int64))


@pytest.mark.parametrize("max_length", [4, 5, 12, 31, 32, 33, 200])
def test_cutting_is_hf_truncation(max_length: int) -> None:
    examples = [*mini_examples("train", 40), *ODD]
    tokenizer = mini_tokenizer()  # appends </s> by itself, as T5's do
    pairs = tokenize_examples(tokenizer, examples)
    assert len(pairs.sources) == len(pairs.targets) == len(examples)
    for rows, text_of in ((pairs.sources, source), (pairs.targets, target)):
        texts = [text_of(example) for example in examples]
        expected = tokenizer(texts, truncation=True, max_length=max_length).input_ids
        assert [row.tolist() for row in rows.rows(len(texts), max_length)] == expected
        whole = tokenizer(texts).input_ids
        lost = [len(long) > len(short) for long, short in zip(whole, expected, strict=True)]
        assert rows.truncated_fraction(len(texts), max_length) == sum(lost) / len(lost)


def test_a_tokenizer_that_was_saved_without_eos_gets_it(tiny_t5: Path) -> None:
    tokenizer = load_tokenizer(Student(source=str(tiny_t5)))
    examples = mini_examples("train", 5)
    plain = [tokenizer(target(example)).input_ids for example in examples]
    assert all(ids[-1] != tokenizer.eos_token_id for ids in plain)
    rows = tokenize_examples(tokenizer, examples).targets.rows(5, 1000)
    assert [row.tolist() for row in rows] == [[*ids, tokenizer.eos_token_id] for ids in plain]


def test_a_cut_row_ends_as_the_whole_one() -> None:
    rows = table(3, 5)
    assert rows.row(0, 4).tolist() == [0, 1, 2]
    assert rows.row(1, 5).tolist() == [3, 4, 5, 6, 7]
    assert rows.row(1, 4).tolist() == [3, 4, 5, 7]
    assert [row.tolist() for row in rows.rows(1, 2)] == [[0, 2]]


def test_truncated_fraction_counts_the_first_texts_alone() -> None:
    rows = table(3, 5, 6, 4)
    assert rows.truncated_fraction(4, 4) == 0.5
    assert rows.truncated_fraction(2, 4) == 0.5
    assert rows.truncated_fraction(1, 4) == 0.0
    assert rows.truncated_fraction(3, 2) == 1.0
