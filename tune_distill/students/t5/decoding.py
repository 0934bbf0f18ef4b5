"""Generates a student's answers greedily, by beam search or by sampling.

Greedy and beam search give the same answers as HF's `generate`. Sampling draws from the same
distribution as HF's, but with each source's own random numbers, so that all settings are compared
on the same ones.

Shape suffixes: B examples in a batch, W answers an example, N answers (B times W), M answers that
are not complete, L tokens at most, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from tune_distill.spec.profile import Decode
from tune_distill.students.batches import length_sorted
from tune_distill.students.model import Spell, samples_per_example
from tune_distill.students.precision import exact_products, products_in
from tune_distill.students.sampling import draw, uniforms
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.beams import beam_search
from tune_distill.students.t5.incremental import Answers, IncrementalDecoder
from tune_distill.students.tokens import Ints

if TYPE_CHECKING:
    from tune_distill.students.t5.model import T5

# The most answers in a batch: fewer cost a small student more time in Python, and more do not fit
# a CPU's cache. A batch takes no more than _BYTES of memory.
_SEQUENCES = 256
_BYTES = 2**30

# Examples with complete answers are removed once they are this share of their batch, because each
# removal copies the state of the others.
_DONE = 1 / 8

_Choose = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""Chooses the next tokens (M,) from logits (M, V), the answers' numbers (M,) and the position."""


@exact_products()
@torch.inference_mode()
def answer(model: T5, spell: Spell, sources: Sequence[Ints], decode: Decode) -> list[list[str]]:
    """Return `texts[i][k]`: sample k of the answer to source i; `spell` turns tokens into text.

    The same call gives the same texts, and a source's texts do not depend on other sources. They
    are computed in the model's precision.
    """
    model.eval()
    texts: list[list[str]] = [[] for _ in sources]
    lengths = [len(row) for row in sources]
    with products_in(model.precision, model.device):
        decoder = IncrementalDecoder(model)
        for indices in length_sorted(lengths, _batch_size(model.config, decode, lengths)):
            answers_BWL = _answers(decoder, [sources[index] for index in indices], decode)
            for index, answers_WL in zip(indices, answers_BWL, strict=True):
                texts[index] = spell(answers_WL.tolist())
    return texts


def _batch_size(config: Architecture, decode: Decode, lengths: Sequence[int]) -> int:
    """Return the number of examples in a batch."""
    width = _width(decode)
    # Keys and values of a source and of its answers, whose caches have twice the memory.
    numbers = 2 * max(lengths, default=0) + 2 * 2 * width * decode.max_new_tokens
    numbers *= config.num_decoder_layers * config.num_heads * config.d_kv
    # Logits and the tensors computed from them.
    numbers += 4 * width * config.vocab_size
    return max(1, min(_SEQUENCES // width, _BYTES // (4 * numbers)))


def _width(decode: Decode) -> int:
    """Return how many answers to one example are under way at a time."""
    return decode.num_beams if decode.strategy == "beam" else samples_per_example(decode)


def _answers(decoder: IncrementalDecoder, sources: Sequence[Ints], decode: Decode) -> torch.Tensor:
    """Return the answers' padded tokens (B, W, L); of beams only the best (W = 1)."""
    longest, samples = decode.max_new_tokens, samples_per_example(decode)
    answers = decoder.start(sources, _width(decode), longest)
    written_BWL = decoder.padding(len(sources), samples, longest)
    if decode.strategy == "beam":
        beam_search(decoder, answers, written_BWL[:, 0])
    elif decode.strategy == "greedy":
        _one_way(decoder, answers, written_BWL, lambda logits_MV, *_: logits_MV.argmax(-1))
    else:
        numbers_BWL = torch.stack([uniforms(row, samples, longest) for row in sources])
        numbers_NL = numbers_BWL.to(written_BWL.device).flatten(0, 1)

        def choose(logits_MV: torch.Tensor, which_M: torch.Tensor, at: int) -> torch.Tensor:
            return draw(logits_MV, numbers_NL[which_M, at], decode)

        _one_way(decoder, answers, written_BWL, choose)
    return written_BWL


def _one_way(
    decoder: IncrementalDecoder, answers: Answers, written_BWL: torch.Tensor, choose: _Choose
) -> None:
    """Write each answer token by token, without revising any."""
    num_examples, width, longest = written_BWL.shape
    # For each answer under way: its number among all answers, and whether it is still open.
    which_N = torch.arange(num_examples * width, device=written_BWL.device)
    open_N = torch.ones_like(which_N, dtype=torch.bool)
    tokens_N = decoder.first_tokens(len(which_N))
    written_NL = written_BWL.view(-1, longest)
    for at in range(longest):
        rows_M = open_N.nonzero()[:, 0]
        logits_MV = decoder.step(answers, tokens_N, rows_M)
        which_M = which_N[rows_M]
        tokens_M = choose(logits_MV, which_M, at)
        written_NL[which_M, at] = tokens_M
        tokens_N[rows_M] = tokens_M
        open_N[rows_M] = ~torch.isin(tokens_M, decoder.eos_tokens)
        open_B = open_N.view(-1, width).any(1)
        num_open = int(open_B.sum())
        if not num_open:
            return
        if num_open <= (1 - _DONE) * len(open_B):
            stay_B = open_B.nonzero()[:, 0]
            stay_N = open_B.repeat_interleave(width).nonzero()[:, 0]
            answers.keep(stay_B)
            answers.continue_from(stay_N)
            which_N, open_N, tokens_N = which_N[stay_N], open_N[stay_N], tokens_N[stay_N]
