"""Drawn tokens have the probabilities that HF's samplers leave them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tune_distill.spec.profile import Decode
from tune_distill.students.sampling import draw, uniforms

NUM_TOKENS = 640  # ten candidates at first, then eighty, then all


def settings(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Decode:
    return Decode(strategy="sample", temperature=temperature, top_k=top_k, top_p=top_p)


def logits_of(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(NUM_TOKENS, generator=generator)
    if kind == "peaked":
        return logits * 4
    if kind == "smoothed":
        # This is like label smoothing: a few likely tokens, and a tenth spread over the others.
        logits[torch.randperm(NUM_TOKENS, generator=generator)[:6]] += 8
        return logits
    assert kind == "flat"
    return logits * 0.1


def hf_probabilities(logits_V: torch.Tensor, wanted: Decode) -> torch.Tensor:
    scores = logits_V[None]
    unused = torch.zeros(1, 0, dtype=torch.long)
    scores = TemperatureLogitsWarper(wanted.temperature)(unused, scores)
    if wanted.top_k:
        scores = TopKLogitsWarper(wanted.top_k)(unused, scores)
    if wanted.top_p < 1:
        scores = TopPLogitsWarper(wanted.top_p)(unused, scores)
    return scores[0].double().softmax(-1)


def drawn_shares(logits_V: torch.Tensor, wanted: Decode, numbers: int = 20_000) -> torch.Tensor:
    """Return how often each token is drawn by evenly spaced numbers."""
    uniforms_N = (torch.arange(numbers) + 0.5) / numbers
    tokens_N = draw(logits_V.expand(numbers, -1).clone(), uniforms_N, wanted)
    return torch.bincount(tokens_N, minlength=NUM_TOKENS) / numbers


@pytest.mark.parametrize("kind", ["peaked", "smoothed", "flat"])
@pytest.mark.parametrize("top_k", [0, 1, 9, 10, 11, 50, 300, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.9999999, 0.9, 0.5, 1e-6])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tokens_have_hf_s_probabilities(
    kind: str, top_k: int, top_p: float, temperature: float
) -> None:
    logits_V, wanted = logits_of(kind), settings(temperature, top_k, top_p)
    found = drawn_shares(logits_V, wanted, 4000)
    # Evenly spaced numbers hit each token's interval in proportion to its width, to within one.
    assert (found - hf_probabilities(logits_V, wanted)).abs().max() <= 1.1 / 4000


def test_the_settings_leave_few_and_many_tokens() -> None:
    """The comparison with HF covers draws from the first candidates, from eighty and from all."""
    left = {
        int((hf_probabilities(logits_of(kind), settings(top_p=0.9)) > 0).sum())
        for kind in ("peaked", "smoothed", "flat")
    }
    assert min(left) <= 10
    assert max(left) > 80


def test_the_probability_of_nothing_is_nothing() -> None:
    """The largest possible number draws a token that can be drawn."""
    logits_V = torch.full((NUM_TOKENS,), -200.0)
    logits_V[5:8] = 1.0
    almost_one = torch.tensor([1 - 2**-24])
    for wanted in (settings(), settings(top_k=2), settings(top_k=50), settings(top_p=0.5)):
        assert 5 <= int(draw(logits_V[None].clone(), almost_one, wanted)) < 8


def test_rows_are_drawn_each_by_itself() -> None:
    logits_NV = torch.stack([logits_of(kind) for kind in ("flat", "peaked", "smoothed") * 20])
    uniforms_N = torch.rand(60, generator=torch.Generator().manual_seed(1))
    for wanted in (settings(), settings(2.0, 50), settings(top_p=0.9)):
        together = draw(logits_NV.clone(), uniforms_N, wanted)
        alone = [
            draw(row[None].clone(), number[None], wanted)
            for row, number in zip(logits_NV, uniforms_N, strict=True)
        ]
        assert together.tolist() == torch.cat(alone).tolist()


def test_the_same_number_draws_much_the_same_at_another_setting() -> None:
    logits_NV = logits_of("smoothed").expand(2000, -1)
    uniforms_N = torch.rand(2000, generator=torch.Generator().manual_seed(1))
    plain = draw(logits_NV.clone(), uniforms_N, settings())
    others = torch.rand(2000, generator=torch.Generator().manual_seed(2))
    by_others = draw(logits_NV.clone(), others, settings())
    for wanted in (settings(0.9), settings(top_p=0.95), settings(top_k=200)):
        same = (draw(logits_NV.clone(), uniforms_N, wanted) == plain).float().mean()
        assert same > 2 * (by_others == plain).float().mean()


def test_a_small_vocabulary_has_a_first_candidate_too() -> None:
    logits_V = torch.tensor([0.0, 1.0, 2.0])
    for wanted in (settings(), settings(top_p=0.95), settings(top_k=2), settings(top_p=0.9)):
        found = drawn_shares(logits_V, wanted, 4000)[:3]
        assert (found - hf_probabilities(logits_V, wanted)).abs().max() <= 1.1 / 4000


def source(*ids: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(ids, dtype=np.int32)


def test_numbers_are_the_source_s_own() -> None:
    first = uniforms(source(3, 4, 1), 4, 20)
    assert first.shape == (4, 20)
    assert torch.equal(first, uniforms(source(3, 4, 1), 4, 20))
    # More samples and longer answers get further numbers; the first ones stay.
    assert torch.equal(first[:2, :7], uniforms(source(3, 4, 1), 2, 7))
    assert len({first.flatten()[0].item(), *first[:, 0].tolist()}) == 4
    for other in (source(4, 3, 1), source(3, 4), source(3, 4, 1, 1)):
        assert not torch.isclose(first, uniforms(other, 4, 20)).any(1).all()


def test_numbers_are_uniform_and_independent() -> None:
    numbers = torch.stack([uniforms(source(n, 1), 5, 40) for n in range(400)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, 20, 0, 1)
    # Chi-square with 19 degrees of freedom exceeds 43.8 once in a thousand.
    assert ((counts - 4000) ** 2 / 4000).sum() < 43.8
    rows = numbers.flatten(0, 1)
    for one, other in ((rows[:-1], rows[1:]), (rows[:, :-1], rows[:, 1:])):
        correlation = torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1]
        assert abs(correlation) < 4 / one.numel() ** 0.5


def test_drawing_leaves_the_random_numbers_of_torch_alone() -> None:
    state = torch.get_rng_state()
    draw(torch.randn(4, 90, generator=torch.Generator()), uniforms(source(1), 1, 4)[0], settings())
    assert torch.equal(torch.get_rng_state(), state)
