"""Tokens of texts. Texts are tokenised once; each trial truncates and pads the rows it needs.

Shape suffixes: B examples in a batch, S source tokens, T target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TokenTable:
    """Token ids of many texts, not truncated, each ending in EOS, in two flat arrays.

    `ids`: int32 (total tokens,); row i is `ids[offsets[i]:offsets[i + 1]]`; `offsets`: int64
    (rows + 1,). Flat arrays are passed between processes without a copy.
    """

    ids: Ints
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int, max_length: int) -> Ints:
        """Return a text's ids, truncated to `max_length`; a truncated row ends in EOS, as in HF."""
        start, end = self.offsets[index], self.offsets[index + 1]
        row = self.ids[start:end]
        if len(row) <= max_length:
            return row
        return np.concatenate((row[: max_length - 1], row[-1:]))

    def rows(self, count: int, max_length: int) -> list[Ints]:
        """Return the ids of the first `count` texts, each truncated to `max_length`."""
        return [self.row(index, max_length) for index in range(count)]

    def truncated_fraction(self, count: int, max_length: int) -> float:
        """Return the share of the first `count` texts that lose tokens at `max_length`."""
        lengths = np.diff(self.offsets[: count + 1])
        return float((lengths > max_length).mean())


@dataclass(frozen=True)
class TokenPairs:
    """Sources and targets of the same examples, in the same order."""

    sources: TokenTable
    targets: TokenTable


@dataclass(frozen=True)
class Pairs:
    """Sources and targets of the same examples, truncated to the trial's maximum lengths."""

    sources: Sequence[Ints]
    targets: Sequence[Ints]

    def late_targets(self, indices: Sequence[int], start_token: int) -> list[Ints]:
        """Return the decoder's inputs: the start token, then the target without its last token."""
        start = np.array([start_token], np.int32)
        return [np.concatenate((start, self.targets[index][:-1])) for index in indices]
