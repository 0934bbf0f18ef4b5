"""Answers are HF's own, one source at a time; batches and a model's defaults change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, T5ForConditionalGeneration

from tests.tiny import token_pairs
from tune_distill.distill.decoding import decode, samples_per_example
from tune_distill.distill.examples import Example
from tune_distill.distill.students import load_model, load_tokenizer
from tune_distill.distill.tokens import Ints
from tune_distill.spec.profile import Decode, Student


@pytest.fixture(scope="module")
def tokenizer(taught_t5: Path) -> Any:
    return load_tokenizer(Student(source=str(taught_t5)))


@pytest.fixture
def model(taught_t5: Path) -> T5ForConditionalGeneration:
    return load_model(Student(source=str(taught_t5)))


@pytest.fixture(scope="module")
def sources(taught_t5: Path, examples: list[Example]) -> Sequence[Ints]:
    rows = token_pairs(taught_t5, examples).sources[:12]
    assert len({len(row) for row in rows}) > 5
    return rows


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve examples are several batches then."""
    monkeypatch.setattr("tune_distill.distill.decoding._SEQUENCES", 8)


def settings(strategy: str = "greedy", **fields: object) -> Decode:
    return Decode.model_validate({"strategy": strategy, "max_new_tokens": 16} | fields)


def hf_answers(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints], num_beams: int
) -> list[list[str]]:
    """HF's `generate`, called for one source after the other."""
    answers = []
    for row in sources:
        ids = model.generate(
            input_ids=torch.tensor([row.tolist()]),
            do_sample=False,
            num_beams=num_beams,
            max_new_tokens=16,
        )
        answers.append([tokenizer.decode(ids[0], skip_special_tokens=True)])
    return answers


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("num_beams", [1, 2, 4])
def test_answers_are_those_of_hf(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints], num_beams: int
) -> None:
    wanted = settings("beam", num_beams=num_beams) if num_beams > 1 else settings()
    answers = decode(model, tokenizer, sources, wanted)
    assert answers == hf_answers(model, tokenizer, sources, num_beams)
    # Else the order of the answers would not show.
    assert len({text for (text,) in answers}) > 6
    # A source's answer does not depend on the others beside it.
    assert decode(model, tokenizer, sources[::-1], wanted) == answers[::-1]


def test_beams_change_some_answer(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    greedy = decode(model, tokenizer, sources, settings())
    assert decode(model, tokenizer, sources, settings("beam", num_beams=4)) != greedy


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    "narrow", [{"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}, {"top_k": 1, "num_samples": 3}]
)
def test_sampling_from_the_likeliest_token_is_greedy(
    model: T5ForConditionalGeneration,
    tokenizer: Any,
    sources: Sequence[Ints],
    narrow: dict[str, float],
) -> None:
    greedy = decode(model, tokenizer, sources, settings())
    sampled = decode(model, tokenizer, sources, settings("sample", **narrow))
    assert sampled == [texts * int(narrow.get("num_samples", 1)) for texts in greedy]


@pytest.mark.usefixtures("small_batches")
def test_sampling_repeats_itself_and_draws_as_many_as_asked(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    wanted = settings("sample", temperature=1.5, num_samples=3)
    torch.manual_seed(1)
    first = decode(model, tokenizer, sources, wanted)
    torch.manual_seed(2)
    model.train()
    assert decode(model, tokenizer, sources, wanted) == first
    assert [len(texts) for texts in first] == [3] * len(sources)
    assert samples_per_example(wanted) == 3
    assert sum(len(set(texts)) > 1 for texts in first) > 6


def test_every_sampling_setting_matters(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    base = {"temperature": 1.5, "num_samples": 2}
    answers = [
        decode(model, tokenizer, sources, settings("sample", **base, **fields))
        for fields in ({}, {"top_k": 3}, {"top_p": 0.5})
    ]
    assert answers[0] != answers[1] != answers[2] != answers[0]


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_num_samples_is_for_sampling(strategy: str) -> None:
    assert samples_per_example(settings(strategy, num_samples=5)) == 1


def test_no_answer_is_longer_than_asked(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    ids_BS = torch.tensor([sources[0].tolist()])
    ids_L = model.generate(input_ids=ids_BS, max_new_tokens=16)[0]
    for longest in (1, 5):
        # The first token only starts the decoder.
        expected = tokenizer.decode(ids_L[1 : 1 + longest], skip_special_tokens=True)
        wanted = settings(max_new_tokens=longest)
        assert decode(model, tokenizer, sources[:1], wanted) == [[expected]]


@pytest.mark.parametrize(
    "wanted",
    [
        settings(),
        settings("beam", num_beams=3),
        settings("sample", temperature=1.5, num_samples=2),
    ],
    ids=lambda wanted: wanted.strategy,
)
def test_a_model_s_own_defaults_change_nothing(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints], wanted: Decode
) -> None:
    before = decode(model, tokenizer, sources, wanted)
    own = GenerationConfig(
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        min_new_tokens=12,
        length_penalty=-3.0,
        num_beams=2,
        do_sample=True,
        top_k=2,
        forced_eos_token_id=5,
        max_length=3,
        decoder_start_token_id=7,
    )
    model.generation_config = own
    assert decode(model, tokenizer, sources, wanted) == before
    assert model.generation_config is own


def test_special_tokens_are_left_out(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    texts = [text for (text,) in decode(model, tokenizer, sources, settings(max_new_tokens=64))]
    assert not any("<pad>" in text or "</s>" in text for text in texts)
    assert all(texts)
