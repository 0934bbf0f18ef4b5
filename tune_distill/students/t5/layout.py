"""The positions of the tokens of several rows, which are padded only for attention.

Shape suffixes are those of `model.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tune_distill.students.t5.kernels import gather, spread

# Token counts are rounded up to a multiple of this: oneDNN compiles code for each size of product.
_ROUND = 32


@dataclass(frozen=True)
class Layout:
    """The positions of the tokens of several rows, if each row is padded to the longest.

    Only attention looks along rows and needs them padded. All else works token by token, on N
    tokens: the M real ones, and a few without a position that fill up a round number.
    """

    places_M: torch.Tensor
    """int64: row * longest + position."""
    num_tokens: int
    num_rows: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Layout:
        longest = max(lengths)
        # Computed from lengths, because a search for tokens on a GPU would wait for it.
        places = [row * longest + np.arange(length) for row, length in enumerate(lengths)]
        places_M = torch.from_numpy(np.concatenate(places)).to(device)
        num_tokens = -(-len(places_M) // _ROUND) * _ROUND
        return cls(places_M, num_tokens, len(lengths), longest)

    def pad(self, x_NK: torch.Tensor) -> torch.Tensor:
        """Return the tokens in rows, (B, longest, K), with zeros for padding."""
        padded = spread(x_NK, self.places_M, self.num_rows * self.longest)
        return padded.view(self.num_rows, self.longest, -1)

    def unpad(self, x_BLK: torch.Tensor) -> torch.Tensor:
        """Return the tokens without padding, (N, K)."""
        return gather(x_BLK.flatten(0, 1), self.places_M, self.num_tokens)

    def mask(self) -> torch.Tensor:
        """Return a mask, (B, longest), that is False at padding."""
        mask_P = torch.zeros(
            self.num_rows * self.longest, dtype=torch.bool, device=self.places_M.device
        )
        return mask_P.index_fill_(0, self.places_M, True).view(self.num_rows, self.longest)

    def dropout(self, x_NK: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
        """Drop what torch's dropout of padded rows drops; float32.

        To draw the same random numbers as torch, draw them for padding too.
        """
        if not training or rate == 0:
            return x_NK
        noise = torch.empty(
            self.num_rows * self.longest, x_NK.shape[1], dtype=torch.float32, device=x_NK.device
        )
        noise_NK = gather(noise.bernoulli_(1 - rate), self.places_M, self.num_tokens)
        return x_NK * noise_NK.div_(1 - rate)
