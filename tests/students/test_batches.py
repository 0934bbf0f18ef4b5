"""Batches hold every example once, with little padding, in an order set by seed and epoch."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_distill.spec.profile import Train
from tune_distill.students.batches import (
    length_grouped,
    length_sorted,
    num_batches,
    num_steps,
)

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200)
SIZES = st.integers(1, 17)


def esnli_lengths(count: int) -> list[int]:
    """Return source plus target lengths like e-SNLI's: mean 58 tokens, with a long tail."""
    drawn = np.random.default_rng(0).lognormal(mean=4.0, sigma=0.35, size=count)
    return [int(length) + 1 for length in drawn]


def padding_share(batches: list[list[int]], lengths: list[int]) -> float:
    cells = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    return 1 - sum(lengths) / cells


@given(LENGTHS, SIZES, st.integers(0, 5), st.integers(0, 3))
@settings(deadline=None)
def test_every_example_is_in_one_batch(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    for batches in (
        length_grouped(lengths, batch_size, seed, epoch),
        length_sorted(lengths, batch_size),
    ):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert len(batches) == num_batches(len(lengths), batch_size)
        assert sum(len(batch) < batch_size for batch in batches) <= 1
        assert max(map(len, batches)) <= batch_size


def test_seed_and_epoch_decide_the_batches() -> None:
    lengths = esnli_lengths(500)
    batches = {
        (seed, epoch): length_grouped(lengths, 16, seed, epoch)
        for seed in range(3)
        for epoch in range(3)
    }
    for (seed, epoch), first in batches.items():
        assert length_grouped(lengths, 16, seed, epoch) == first
    members = [{frozenset(batch) for batch in each} for each in batches.values()]
    # The batches differ in their examples, not only in their order.
    for number, one in enumerate(members):
        for other in members[number + 1 :]:
            assert len(one & other) < len(one) / 2


def test_long_and_short_batches_take_turns() -> None:
    lengths = esnli_lengths(1600)
    means = [np.mean([lengths[i] for i in batch]) for batch in length_grouped(lengths, 16, 0, 0)]
    order = np.corrcoef(means, range(len(means)))[0, 1]
    assert abs(order) < 0.3


def test_padding_is_a_fraction_of_that_of_random_batches() -> None:
    lengths = esnli_lengths(4000)
    order = list(range(len(lengths)))
    random.Random(0).shuffle(order)
    shuffled = [order[at : at + 16] for at in range(0, len(order), 16)]
    assert padding_share(shuffled, lengths) > 0.3
    assert padding_share(length_grouped(lengths, 16, 0, 0), lengths) < 0.06
    assert padding_share(length_sorted(lengths, 16), lengths) < 0.02


def test_decoding_starts_with_the_longest() -> None:
    assert length_sorted([3, 9, 3, 7, 9], 2) == [[1, 4], [3, 0], [2]]


@pytest.mark.parametrize(
    ("num_train", "batch_size", "num_epochs", "steps"),
    [(500, 16, 3, 96), (512, 16, 3, 96), (513, 16, 3, 99), (1, 16, 2, 2), (10, 1, 1, 10)],
)
def test_steps_count_the_last_small_batch(
    num_train: int, batch_size: int, num_epochs: int, steps: int
) -> None:
    assert num_steps(num_train, Train(batch_size=batch_size, num_epochs=num_epochs)) == steps
