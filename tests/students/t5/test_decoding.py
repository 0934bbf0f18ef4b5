"""Answers are HF's own, one source at a time, whatever the batches and the model's defaults are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration

from tests.students.random_t5 import generated, ours, random_sources, talkative_t5
from tests.tiny import load_tokenizer, token_pairs
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Decode, Student
from tune_distill.students.t5 import decoding
from tune_distill.students.t5.decoding import samples_per_example
from tune_distill.students.t5.incremental import Answers
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Ints


@pytest.fixture(scope="module")
def tokenizer(taught_t5: Path) -> Any:
    return load_tokenizer(Student(source=str(taught_t5)))


@pytest.fixture
def model(taught_t5: Path) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration.from_pretrained(taught_t5)


@pytest.fixture(scope="module")
def sources(taught_t5: Path, examples: list[Example]) -> Sequence[Ints]:
    rows = token_pairs(taught_t5, examples).sources[:12]
    assert len({len(row) for row in rows}) > 5
    return rows


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split twelve examples into several batches."""
    monkeypatch.setattr("tune_distill.students.t5.decoding._SEQUENCES", 8)


def decoded(
    model: T5ForConditionalGeneration | T5, tokenizer: Any, sources: Sequence[Ints], wanted: Decode
) -> list[list[str]]:
    """Return the answers of our T5 with the model's weights, decoded by HF's tokenizer."""
    own = model if isinstance(model, T5) else ours(model)
    spell = partial(tokenizer.batch_decode, skip_special_tokens=True)
    return own.generate(spell, sources, wanted)


def settings(strategy: str = "greedy", **fields: object) -> Decode:
    return Decode.model_validate({"strategy": strategy, "max_new_tokens": 16} | fields)


def hf_answers(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints], num_beams: int
) -> list[list[str]]:
    """Return the answers of HF's `generate`, called for one source after the other."""
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
    answers = decoded(model, tokenizer, sources, wanted)
    assert answers == hf_answers(model, tokenizer, sources, num_beams)
    # Otherwise the order of the answers would not matter.
    assert len({text for (text,) in answers}) > 6
    # A source's answer does not depend on other sources.
    assert decoded(model, tokenizer, sources[::-1], wanted) == answers[::-1]


def test_beams_change_some_answer(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    greedy = decoded(model, tokenizer, sources, settings())
    assert decoded(model, tokenizer, sources, settings("beam", num_beams=4)) != greedy


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
    greedy = decoded(model, tokenizer, sources, settings())
    sampled = decoded(model, tokenizer, sources, settings("sample", **narrow))
    assert sampled == [texts * int(narrow.get("num_samples", 1)) for texts in greedy]


@pytest.mark.usefixtures("small_batches")
def test_sampling_repeats_itself_and_draws_as_many_as_asked(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    wanted = settings("sample", temperature=1.5, num_samples=3)
    torch.manual_seed(1)
    own = ours(model)
    first = decoded(own, tokenizer, sources, wanted)
    torch.manual_seed(2)
    own.train()
    assert decoded(own, tokenizer, sources, wanted) == first
    assert [len(texts) for texts in first] == [3] * len(sources)
    assert samples_per_example(wanted) == 3
    assert sum(len(set(texts)) > 1 for texts in first) > 6


def test_every_sampling_setting_matters(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    base = {"temperature": 1.5, "num_samples": 2}
    answers = [
        decoded(model, tokenizer, sources, settings("sample", **base, **fields))
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
        assert decoded(model, tokenizer, sources[:1], wanted) == [[expected]]


def test_special_tokens_are_left_out(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    texts = [text for (text,) in decoded(model, tokenizer, sources, settings(max_new_tokens=64))]
    assert not any("<pad>" in text or "</s>" in text for text in texts)
    assert all(texts)


class Ids:
    """A tokenizer whose texts are the tokens, without padding."""

    def batch_decode(self, rows: list[list[int]], **_: object) -> list[str]:
        return [" ".join(str(token) for token in row if token) for row in rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("longest", [1, 2, 40])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_random_students_answer_as_with_hf(seed: int, longest: int, num_beams: int) -> None:
    model, sources = talkative_t5(seed), random_sources(30)
    expected = generated(model, sources, num_beams, longest)
    fields = {"max_new_tokens": longest, "num_beams": max(2, num_beams)}
    wanted = settings("beam" if num_beams > 1 else "greedy", **fields)
    assert decoded(model, Ids(), sources, wanted) == [
        [" ".join(str(token) for token in answer if token)] for answer in expected
    ]


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_complete_answers_leave_their_batch(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    staying: list[int] = []
    keep = Answers.keep

    def spy(self: Answers, examples_B: torch.Tensor) -> None:
        staying.append(len(examples_B))
        keep(self, examples_B)

    wanted = settings(strategy, num_samples=3, max_new_tokens=40)
    # Answers that stay to the end must be the same.
    with monkeypatch.context() as all_stay:
        all_stay.setattr(decoding, "_DONE", 1.1)
        expected = decoded(talkative_t5(0), Ids(), random_sources(30), wanted)
    monkeypatch.setattr(Answers, "keep", spy)
    assert decoded(talkative_t5(0), Ids(), random_sources(30), wanted) == expected
    assert len(set(staying)) > 1
    assert staying == sorted(staying, reverse=True)


@pytest.mark.parametrize("fields", [{}, {"top_k": 5}, {"top_p": 0.7}], ids=str)
def test_samples_do_not_depend_on_the_examples_beside_them(
    model: T5ForConditionalGeneration,
    tokenizer: Any,
    sources: Sequence[Ints],
    fields: dict[str, float],
) -> None:
    wanted = settings("sample", temperature=1.5, num_samples=3, **fields)
    answers = decoded(model, tokenizer, sources, wanted)
    assert decoded(model, tokenizer, sources[::-1], wanted) == answers[::-1]
    assert decoded(model, tokenizer, sources[4:6], wanted) == answers[4:6]
    # They do not depend on the number of samples either.
    fewer = settings("sample", temperature=1.5, num_samples=2, **fields)
    assert decoded(model, tokenizer, sources, fewer) == [texts[:2] for texts in answers]


def test_a_little_more_temperature_leaves_most_samples(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    """The random numbers are the same at every temperature."""
    low, high = (
        decoded(model, tokenizer, sources, settings("sample", temperature=t, num_samples=4))
        for t in (0.5, 0.5001)
    )
    same = [
        one == other
        for a, b in zip(low, high, strict=True)
        for one, other in zip(a, b, strict=True)
    ]
    assert sum(same) > 0.8 * len(same)
    assert sum(len(set(texts)) > 1 for texts in low) > 3


def test_samples_have_the_student_s_probabilities(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    """Compare the first tokens of many samples with the logits of HF's forward pass."""
    ids_BS = torch.tensor([sources[0].tolist()])
    with torch.inference_mode():
        logits = model(input_ids=ids_BS, decoder_input_ids=torch.tensor([[0]])).logits[0, -1]
    expected = (logits / 3.0).softmax(-1)
    wanted = settings("sample", temperature=3.0, num_samples=2000, max_new_tokens=1)

    [texts] = decoded(model, Ids(), sources[:1], wanted)
    counts = torch.bincount(torch.tensor([int(text or 0) for text in texts]), minlength=len(logits))
    likely = expected > 0.005
    deviations = (counts - 2000 * expected) / (2000 * expected * (1 - expected)).sqrt()
    assert likely.sum() >= 2
    assert deviations[likely].abs().max() < 4.5


def test_decoding_leaves_the_random_numbers_of_torch_alone(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints]
) -> None:
    state = torch.get_rng_state()
    decoded(model, tokenizer, sources, settings("sample", temperature=1.5))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_largest_batch_fits_its_memory(model: T5ForConditionalGeneration) -> None:
    config = ours(model).config
    sizes = [decoding._batch_size(config, settings(max_new_tokens=n), [9]) for n in (16, 2**16)]
    assert sizes[0] == 256
    assert 1 <= sizes[1] < 20
    assert decoding._batch_size(config, settings("beam", num_beams=8), [9]) == 32
    assert decoding._batch_size(config, settings("sample", num_samples=1000), [9]) == 1
