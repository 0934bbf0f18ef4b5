"""Batches of examples: grouped by length for training, sorted by length for decoding."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tune_distill.spec.profile import Train

_POOL_BATCHES = 50


def length_grouped(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return every example once, in batches of similar length, in an order that (seed, epoch) fix.

    Examples are shuffled and sorted by length within pools of 50 batches; then the batches are
    shuffled. So padding falls to a few per cent, and batches stay random from epoch to epoch.
    All batches but one have `batch_size` examples.
    Source: the idea of transformers' LengthGroupedSampler.
    """
    # random.Random gives the same sequence in every Python version.
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool_size = batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool_size):
        pool = sorted(order[start : start + pool_size], key=lambda index: lengths[index])
        batches += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    rng.shuffle(batches)
    return batches


def length_sorted(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return every example once, longest first: if the first batch fits into memory, all do."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def num_batches(num_examples: int, batch_size: int) -> int:
    """Return the number of batches in an epoch; the last one may be smaller."""
    return -(-num_examples // batch_size)


def num_steps(num_train: int, train: Train) -> int:
    """Return the number of optimizer steps of a whole training."""
    return num_batches(num_train, train.batch_size) * train.num_epochs
