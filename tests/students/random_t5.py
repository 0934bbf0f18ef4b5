"""Random T5s with different answers that end at different lengths, and HF's own answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Ints

PAD, EOS = 0, 1
NUM_TOKENS = 40


def random_t5(seed: int = 0, **fields: object) -> T5ForConditionalGeneration:
    """Return a T5 whose answers depend on its input, unlike one with usual initial weights."""
    shape = {"d_model": 16, "d_kv": 5, "num_heads": 3, "d_ff": 24, "num_layers": 2}
    config = T5Config(
        vocab_size=NUM_TOKENS,
        decoder_start_token_id=PAD,
        pad_token_id=PAD,
        initializer_factor=2.0,
        **shape | fields,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
        for name, weight in model.named_parameters():
            if "layer_norm" in name:
                weight.uniform_(0.5, 1.5)
    return model.eval()


def ours(model: T5ForConditionalGeneration) -> T5:
    """Return our T5 with copies of the model's weights."""
    tied = model.lm_head.weight is model.shared.weight
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    return T5.of(Architecture.of(model.config, tied_head=tied), weights).eval()


def talkative_t5(seed: int) -> T5ForConditionalGeneration:
    """Return a random T5 with a separate head.

    Without it, random T5s repeat one token and never end.
    """
    model = random_t5(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        head = torch.randn_like(model.shared.weight)
        head[EOS] *= 3
    model.lm_head.weight = torch.nn.Parameter(head)
    return model


def random_sources(count: int = 9, longest: int = 12) -> list[Ints]:
    """Return sources of many lengths; some contain the pad token as a word."""
    rng = np.random.default_rng(0)
    lengths = rng.permutation(np.linspace(2, longest, count).astype(int))
    return [np.append(rng.integers(0, NUM_TOKENS, n - 1), EOS).astype(np.int32) for n in lengths]


def padded(sources: Sequence[Ints]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask (B, S) in HF's form."""
    rows = [torch.from_numpy(row).long() for row in sources]
    pad = torch.nn.utils.rnn.pad_sequence
    mask_BS = pad([torch.ones_like(row) for row in rows], batch_first=True)
    return pad(rows, batch_first=True, padding_value=PAD), mask_BS


def generated(
    model: T5ForConditionalGeneration, sources: Sequence[Ints], num_beams: int, longest: int
) -> list[list[int]]:
    """Return what HF's `generate` answers to all sources, up to the first EOS or `longest`."""
    ids_BS, mask_BS = padded(sources)
    config = GenerationConfig(
        do_sample=False,
        num_beams=num_beams,
        max_new_tokens=longest,
        pad_token_id=model.config.pad_token_id,
        eos_token_id=model.config.eos_token_id,
        decoder_start_token_id=model.config.decoder_start_token_id,
    )
    tokens_BL = model.generate(ids_BS, attention_mask=mask_BS, generation_config=config)[:, 1:]
    return [cut(row.tolist(), model) for row in tokens_BL]


def cut(answer: list[int], model: T5ForConditionalGeneration) -> list[int]:
    """Return the answer up to its first EOS, or the whole answer if it has none."""
    eos = model.config.eos_token_id
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    for at, token in enumerate(answer):
        if token in ends:
            return answer[: at + 1]
    return answer
