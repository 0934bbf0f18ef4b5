"""Tests whether a difference is real: exact McNemar, with Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

ALPHA = 0.05
"""The largest chance of a false claim in a study's verdict."""

POWER = 0.8
"""The chance of detecting a difference of the size that a study is said to be able to detect."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value that two paired answer sheets (n each) are equally often right.

    1 if they never differ. Source: McNemar 1947, exact form: a sign test of the pairs that
    differ.
    """
    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(~first & second))
    if only_first + only_second == 0:
        return 1.0
    return _sign_test(only_first, only_first + only_second)


# Cached, because a study's many pairs of answer sheets have few different counts.
@lru_cache(maxsize=2**14)
def _sign_test(successes: int, trials: int) -> float:
    return float(binomtest(successes, trials).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the chance of any false claim is at most the level.

    Source: Holm 1979, step-down.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index])
    adjusted = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
