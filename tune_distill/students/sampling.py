"""Draws tokens by HF's rules (temperature, then top-k, then top-p), from given numbers.

A number u in [0, 1) draws the first token at which the probabilities, summed from the likeliest
token on, exceed u. So the same number draws much the same token at another setting.

Deviation: if several tokens tie for the k-th place, top-k keeps k tokens in all; HF keeps every
tied one.

Shape suffixes: N answers, V vocabulary, C candidates (the likeliest tokens, best first), W answers
to an example, L maximum number of tokens.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from tune_distill.spec.profile import Decode
from tune_distill.students.tokens import Ints

# The number of candidates that are tried first: torch.topk finds a 64th of the vocabulary in one
# pass over it, and more than 64 candidates are rarely needed. If they do not decide the token,
# eight times as many are tried, then all tokens.
_SHARE = 64
_CANDIDATES = 64
_MORE = 8


def uniforms(source: Ints, num_samples: int, longest: int) -> torch.Tensor:
    """Return the source's own random numbers in [0, 1), float32 (W, L).

    Each depends only on the source's tokens, the sample and the position: not on other examples,
    on how answers are decoded, or on how many samples and tokens are asked for.
    """
    digest = hashlib.blake2b(source.astype("<i8").tobytes(), digest_size=16).digest()
    key = int.from_bytes(digest, "little")
    # The counter's last word is the sample; no answer is long enough to exhaust the other words.
    generators = [np.random.Philox(key=key, counter=n << 192) for n in range(num_samples)]
    rows = [np.random.Generator(each).random(longest, dtype=np.float32) for each in generators]
    return torch.from_numpy(np.stack(rows))


def draw(logits_NV: torch.Tensor, uniforms_N: torch.Tensor, decode: Decode) -> torch.Tensor:
    """Return the tokens (N,) that the numbers draw."""
    scores_NV = logits_NV / decode.temperature
    num_tokens = scores_NV.shape[-1]
    num_candidates = max(1, min(_CANDIDATES, num_tokens // _SHARE))
    best_NC, likely_NC = scores_NV.topk(num_candidates)
    weights_NV = scores_NV.sub_(best_NC[:, :1]).exp_()
    tokens_N, certain_N = _draw_among(likely_NC, weights_NV, uniforms_N, decode)
    sizes = (min(_MORE * num_candidates, num_tokens), num_tokens)
    for size in sizes:
        open_N = (~certain_N).nonzero()[:, 0]
        if not len(open_N):
            break
        weights, numbers = weights_NV[open_N], uniforms_N[open_N]
        if not decode.top_k and decode.top_p == 1:
            tokens_N[open_N] = _draw_unlikely(weights, numbers, likely_NC[open_N])
            break
        tokens_N[open_N], certain_N[open_N] = _draw_among(
            weights.topk(size).indices, weights, numbers, decode
        )
    return tokens_N


def _draw_among(
    tokens_NC: torch.Tensor, weights_NV: torch.Tensor, uniforms_N: torch.Tensor, decode: Decode
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens drawn, and whether the candidates suffice to determine each."""
    weights_NC = weights_NV.gather(1, tokens_NC)
    ranks_N, certain_N = _pick(weights_NC, weights_NV.sum(-1), uniforms_N, decode)
    return tokens_NC.gather(1, ranks_N[:, None])[:, 0], certain_N


def _draw_unlikely(
    weights_NV: torch.Tensor, uniforms_N: torch.Tensor, tokens_NC: torch.Tensor
) -> torch.Tensor:
    """Return tokens that are not candidates, for numbers beyond the candidates' summed weights."""
    # After the candidates any fixed order is valid, and the vocabulary's own needs no sorting.
    mass_N, likely_N = weights_NV.sum(-1), weights_NV.gather(1, tokens_NC).sum(-1)
    sums_NV = weights_NV.scatter(1, tokens_NC, 0.0).cumsum(-1)
    share_N = (uniforms_N * mass_N - likely_N) / (mass_N - likely_N)
    # Rounding must not lead beyond the last token, or to a token without weight.
    targets_N = share_N.clamp_(0.0, 1 - 2**-24) * sums_NV[:, -1]
    tokens_N = torch.searchsorted(sums_NV, targets_N[:, None], right=True)[:, 0]
    return torch.where(tokens_N < sums_NV.shape[-1], tokens_N, tokens_NC[:, 0])


def _pick(
    weights_NC: torch.Tensor, mass_N: torch.Tensor, uniforms_N: torch.Tensor, decode: Decode
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ranks of the tokens drawn, and whether the candidates suffice to determine each.

    `weights_NC` are proportional to the probabilities; the weights of all tokens sum to `mass_N`.
    """
    num_candidates, lowest_N = weights_NC.shape[-1], weights_NC[:, -1]
    # The summed weight of the tokens drawn from is known exactly, or lies between two bounds.
    least_N = most_N = mass_N
    if 0 < decode.top_k < num_candidates:
        weights_NC = weights_NC.clone()
        weights_NC[:, decode.top_k :] = 0.0
        least_N = most_N = weights_NC.sum(-1)
    elif decode.top_k:
        least_N = weights_NC.sum(-1)
        others = decode.top_k - num_candidates
        most_N = torch.minimum(mass_N, least_N + others * lowest_N)
    sums_NC = weights_NC.cumsum(-1)
    num_left_N = (weights_NC > 0).sum(-1)
    if decode.top_p < 1:
        likelier_NC, p = sums_NC - weights_NC, decode.top_p
        num_left_N, at_most_N = (
            (likelier_NC < p * mass[:, None]).sum(-1).clamp_(min=1) for mass in (least_N, most_N)
        )
        # If top-p keeps all candidates, the last token that it keeps is at most as likely as they.
        at_least_N = torch.maximum(p * least_N, sums_NC[:, -1])
        most_N = torch.minimum(p * most_N + lowest_N, most_N)
        least_N, most_N = (
            torch.where(num < num_candidates, sums_NC.gather(1, num[:, None] - 1)[:, 0], all_left)
            for num, all_left in ((num_left_N, at_least_N), (at_most_N, most_N))
        )
    ranks_N, at_most_N = (
        (sums_NC <= (uniforms_N * mass)[:, None]).sum(-1) for mass in (least_N, most_N)
    )
    certain_N = (ranks_N == at_most_N) & (ranks_N < num_candidates)
    return torch.minimum(ranks_N, num_left_N - 1).clamp_(min=0), certain_N
