"""Beam search finds the answers of HF's `generate`, token by token."""

from __future__ import annotations

import pytest
import torch
from transformers import T5ForConditionalGeneration

from tests.students.random_t5 import EOS, cut, generated, ours, random_sources, talkative_t5
from tune_distill.students.t5.beams import beam_search
from tune_distill.students.t5.incremental import Answers, IncrementalDecoder


def ending(model: T5ForConditionalGeneration, eos: object = EOS) -> T5ForConditionalGeneration:
    """Make the model end with the given tokens, and return it."""
    model.config.eos_token_id = eos
    model.generation_config.eos_token_id = eos
    return model


@torch.inference_mode()
def found(model: T5ForConditionalGeneration, num_beams: int, longest: int) -> list[list[int]]:
    sources, decoder = random_sources(), IncrementalDecoder(ours(model))
    best_BL = decoder.padding(len(sources), longest)
    beam_search(decoder, decoder.start(sources, num_beams, longest), best_BL)
    return [cut(row.tolist(), model) for row in best_BL]


def unpadded(answers: list[list[int]]) -> list[list[int]]:
    """Return the answers without padding, which HF and we add up to different lengths."""
    return [[token for token in answer if token] for answer in answers]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_beams", [2, 3, 5, 8])
@pytest.mark.parametrize("longest", [1, 2, 7, 40])
def test_answers_are_those_of_hf(seed: int, num_beams: int, longest: int) -> None:
    model = talkative_t5(seed)
    expected = generated(model, random_sources(), num_beams, longest)
    assert unpadded(found(model, num_beams, longest)) == unpadded(expected)


def test_answers_end_at_many_lengths_and_some_examples_leave_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """These answers are those of the comparison with HF."""
    staying: list[int] = []
    keep = Answers.keep

    def spy(self: Answers, examples_B: torch.Tensor) -> None:
        staying.append(len(examples_B))
        keep(self, examples_B)

    monkeypatch.setattr(Answers, "keep", spy)
    lengths = {len(answer) for seed in range(4) for answer in found(talkative_t5(seed), 3, 40)}
    assert 40 in lengths
    assert len(lengths) > 5
    assert len(set(staying)) > 3


def test_there_may_be_several_ends() -> None:
    model = ending(talkative_t5(1), [EOS, 3, 8])
    answers = found(model, 3, 12)
    assert unpadded(answers) == unpadded(generated(model, random_sources(), 3, 12))
    assert {answer[-1] for answer in answers} >= {3, 8}


def test_there_may_be_no_end() -> None:
    model = ending(talkative_t5(1), None)
    answers = found(model, 3, 12)
    assert unpadded(answers) == unpadded(generated(model, random_sources(), 3, 12))
    assert {len(answer) for answer in answers} == {12}


def test_more_beams_find_likelier_answers() -> None:
    model = talkative_t5(2)
    assert found(model, 2, 20) != found(model, 8, 20)
