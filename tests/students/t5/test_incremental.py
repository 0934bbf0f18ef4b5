"""Token by token, the logits equal those of HF's decoder for all tokens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from transformers import T5ForConditionalGeneration

from tests.students.random_t5 import (
    NUM_TOKENS,
    PAD,
    ours,
    padded,
    random_sources,
    random_t5,
    talkative_t5,
)
from tune_distill.students.t5.incremental import IncrementalDecoder
from tune_distill.students.tokens import Ints

# The decoder's memory grows in blocks, and this is more than one block.
LONGEST = 40


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def hf_logits(
    model: T5ForConditionalGeneration, sources: Sequence[Ints], tokens_NL: torch.Tensor
) -> torch.Tensor:
    """Return logits (N, L, V) of one pass over the tokens prescribed for each answer."""
    width = len(tokens_NL) // len(sources)
    ids_BS, mask_BS = padded(sources)
    start_N1 = torch.full((len(tokens_NL), 1), PAD)
    logits: torch.Tensor = model(
        input_ids=ids_BS.repeat_interleave(width, 0),
        attention_mask=mask_BS.repeat_interleave(width, 0),
        decoder_input_ids=torch.cat((start_N1, tokens_NL[:, :-1]), 1),
    ).logits
    return logits


def some_tokens(num_answers: int, longest: int = LONGEST) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.integers(0, NUM_TOKENS, (num_answers, longest)))


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    # Otherwise the numbers would be too small to differ.
    assert expected.std() > 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "fields",
    [
        {"feed_forward_proj": "relu"},
        {"feed_forward_proj": "gelu"},
        {"feed_forward_proj": "gated-gelu"},
        {"feed_forward_proj": "gated-silu"},
        {"tie_word_embeddings": False},
        {"num_layers": 1, "num_decoder_layers": 3},
        {"d_kv": 8, "num_heads": 5, "relative_attention_num_buckets": 6},
        {"relative_attention_max_distance": 20, "layer_norm_epsilon": 0.1},
    ],
    ids=str,
)
def test_logits_are_those_of_hf(fields: dict[str, object], width: int) -> None:
    model, sources = random_t5(**fields), random_sources()
    assert model.config.scale_decoder_outputs is ("tie_word_embeddings" not in fields)
    tokens_NL = some_tokens(len(sources) * width)
    decoder = IncrementalDecoder(ours(model))
    answers = decoder.start(sources, width, LONGEST)
    given = [decoder.first_tokens(len(tokens_NL)), *tokens_NL.T[:-1]]
    found = torch.stack([decoder.step(answers, tokens_N) for tokens_N in given], 1)
    assert_same(found, hf_logits(model, sources, tokens_NL))


def test_the_head_may_be_its_own() -> None:
    model, sources = talkative_t5(0), random_sources()
    tokens_NL = some_tokens(len(sources), 1)
    decoder = IncrementalDecoder(ours(model))
    found = decoder.step(decoder.start(sources, 1, 1), decoder.first_tokens(len(sources)))
    assert_same(found, hf_logits(model, sources, tokens_NL)[:, 0])


def test_sources_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_distill.students.t5.incremental._ENCODED_AT_ONCE", 2)
    model, sources = random_t5(), random_sources()
    tokens_NL = some_tokens(len(sources), 1)
    decoder = IncrementalDecoder(ours(model))
    found = decoder.step(decoder.start(sources, 1, 1), decoder.first_tokens(len(sources)))
    assert_same(found, hf_logits(model, sources, tokens_NL)[:, 0])


@pytest.mark.parametrize("changed_at", [1, 31, 32, 33])
def test_answers_leave_and_go_on_from_others(changed_at: int) -> None:
    model, sources, width = random_t5(), random_sources(), 2
    before_NL = some_tokens(len(sources) * width)
    decoder = IncrementalDecoder(ours(model))
    answers = decoder.start(sources, width, LONGEST)
    tokens_N = decoder.first_tokens(len(before_NL))
    for at in range(changed_at):
        decoder.step(answers, tokens_N)
        tokens_N = before_NL[:, at]
    # Each example keeps both answers, one of them twice, or the two in the other order.
    stay, parents = [0, 2, 3, 7], torch.tensor([0, 1, 5, 5, 7, 6, 14, 14])
    answers.keep(torch.tensor(stay))
    answers.continue_from(parents)
    after_NL = before_NL[parents].clone()
    after_NL[:, changed_at:] = some_tokens(len(parents))[:, changed_at:]
    expected = hf_logits(model, [sources[index] for index in stay], after_NL)
    tokens_N = before_NL[parents, changed_at - 1]
    for at in range(changed_at, LONGEST):
        assert_same(decoder.step(answers, tokens_N), expected[:, at])
        tokens_N = after_NL[:, at]


def test_only_the_logits_asked_for_are_computed() -> None:
    model, sources = random_t5(), random_sources()
    decoder = IncrementalDecoder(ours(model))
    first = decoder.first_tokens(len(sources))
    everything = decoder.step(decoder.start(sources, 1, 4), first)
    rows = torch.tensor([5, 1])
    found = decoder.step(decoder.start(sources, 1, 4), first, rows)
    torch.testing.assert_close(found, everything[rows])
