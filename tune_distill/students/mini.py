"""The embedded student: a tiny gated-GELU T5 with random weights, the same ones on every call.

It must learn from 500 examples without pretraining, so its first weights make learning quick: from
the first step on, attention matches equal words and copies what it reads. In the decoder's
self-attention the sign is negative, so at first the student avoids repeating a word.

Source: Trockman & Kolter 2023, "Mimetic Initialization of Self-Attention Layers". Deviation: all
four projections start as exact multiples of the identity, without noise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.init import eye_
from transformers import T5Config, T5ForConditionalGeneration

from tune_distill.students.mini_tokenizer import mini_tokenizer

INITIAL_SEED = 0
EMBEDDING_STD = 0.1  # small compared with Adam's steps, so that training moves the embeddings
# Initial gains of attention, (match, read). match: equal words get about exp(match * d_kv) times
# the attention of other words. read: the scale of what it copies, in units of EMBEDDING_STD.
READING_GAINS = (0.1, 6.0)  # the encoder's self-attention, and the decoder's cross-attention
DECODER_SELF_GAINS = (0.02, -6.0)


def mini_student() -> T5ForConditionalGeneration:
    """Return a student in eval mode, the same on every call; keep the caller's RNG state."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the accelerators too.
        torch.default_generator.manual_seed(INITIAL_SEED)
        model: T5ForConditionalGeneration = T5ForConditionalGeneration(_config())
    with torch.no_grad():
        _scale_embeddings(model)
        for name, module in model.named_modules():
            if name.endswith(("SelfAttention", "EncDecAttention")):
                is_decoder_self = name.startswith("decoder") and name.endswith("SelfAttention")
                _start_attention(
                    module, *(DECODER_SELF_GAINS if is_decoder_self else READING_GAINS)
                )
    model.eval()
    return model


def _config() -> T5Config:
    tokenizer = mini_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=96,
        d_kv=24,
        d_ff=192,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.tie_word_embeddings = True
    config.decoder_start_token_id = tokenizer.pad_token_id
    return config


def _scale_embeddings(model: T5ForConditionalGeneration) -> None:
    """Scale the embeddings to size EMBEDDING_STD, and keep the logits at size 1.

    The start token's embedding is zero, so that the first word depends only on the source.
    """
    model.shared.weight.mul_(EMBEDDING_STD)
    model.shared.weight[model.config.decoder_start_token_id] = 0.0
    model.decoder.final_layer_norm.weight.fill_(1 / EMBEDDING_STD)
    for name, weight in model.named_parameters():
        if name.endswith("DenseReluDense.wo.weight"):
            weight.mul_(EMBEDDING_STD)


def _start_attention(attention: Any, match: float, read: float) -> None:
    """Make the attention match equal words and copy what it reads, scaled by `read`."""
    for projection, gain in (
        (attention.q, match**0.5),
        (attention.k, match**0.5),
        (attention.v, 1.0),
        (attention.o, read * EMBEDDING_STD),
    ):
        eye_(projection.weight).mul_(gain)
