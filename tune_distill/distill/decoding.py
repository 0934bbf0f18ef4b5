"""A student answers: greedily, by beam search or by sampling, through HF's `generate`.

Shape suffixes: B examples in a batch, S source tokens, N answers (B times samples), L new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, T5ForConditionalGeneration

from tune_distill.distill.batches import length_sorted
from tune_distill.distill.tensors import padded_sources
from tune_distill.distill.tokens import Ints
from tune_distill.spec.profile import Decode

# Batches of so many sequences: examples times beams or samples.
_SEQUENCES = 128

# Sampling draws the same random numbers at every setting, so that settings are compared on
# what they do with them.
_DECODE_SEED = 20_180_404


def generation_config(settings: Decode, model: T5ForConditionalGeneration) -> GenerationConfig:
    """HF's form of the decode settings, with nothing left to a model's own defaults."""
    config = model.config
    common: dict[str, Any] = {
        "max_new_tokens": settings.max_new_tokens,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": config.eos_token_id,
        "decoder_start_token_id": config.decoder_start_token_id,
    }
    if settings.strategy == "greedy":
        return GenerationConfig(do_sample=False, num_beams=1, **common)
    if settings.strategy == "beam":
        return GenerationConfig(do_sample=False, num_beams=settings.num_beams, **common)
    return GenerationConfig(
        do_sample=True,
        num_beams=1,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        num_return_sequences=settings.num_samples,
        **common,
    )


def samples_per_example(settings: Decode) -> int:
    """Texts that each example gets."""
    return settings.num_samples if settings.strategy == "sample" else 1


@torch.inference_mode()
def decode(
    model: T5ForConditionalGeneration, tokenizer: Any, sources: Sequence[Ints], settings: Decode
) -> list[list[str]]:
    """`texts[i][k]` is sample k of the answer to source i; special tokens are left out.

    Sampling is seeded by the batch, so the same call gives the same texts.
    """
    model.eval()
    config = generation_config(settings, model)
    samples = samples_per_example(settings)
    width = settings.num_beams if settings.strategy == "beam" else samples
    batch_size = max(1, _SEQUENCES // width)
    texts: list[list[str]] = [[] for _ in sources]
    batches = length_sorted([len(row) for row in sources], batch_size)
    for number, indices in enumerate(batches):
        torch.manual_seed(_DECODE_SEED + number)
        ids_BS, mask_BS = padded_sources([sources[index] for index in indices], model)
        with _no_defaults(model):
            answers_NL = model.generate(  # type: ignore[misc]
                input_ids=ids_BS, attention_mask=mask_BS, generation_config=config
            )
        answers = tokenizer.batch_decode(answers_NL, skip_special_tokens=True)
        for position, index in enumerate(indices):
            texts[index] = answers[position * samples : (position + 1) * samples]
    return texts


@contextmanager
def _no_defaults(model: T5ForConditionalGeneration) -> Iterator[None]:
    """The model has no generation defaults in the block."""
    # `generate` takes what our settings leave open, say a repetition penalty, from the model's own.
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
