"""Where the tokens of several rows stand, with padding only where attention needs it.

Shape suffixes are those of `model.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tune_distill.students.t5.kernels import gather, spread

# oneDNN makes code for each size of a product that it meets: the fewer sizes, the better.
_ROUND = 32


@dataclass(frozen=True)
class Layout:
    """Where the tokens of several rows stand, if each row is padded to the longest.

    Only attention looks along rows, and needs them padded; all else is done token by token, for N
    tokens: the M that there are, and a few that stand nowhere and fill up a round number.
    """

    places_M: torch.Tensor
    """int64: row times longest plus position."""
    num_tokens: int
    num_rows: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Layout:
        longest = max(lengths)
        # Made here, from lengths: on a GPU, to look for tokens would wait for it.
        places = [row * longest + np.arange(length) for row, length in enumerate(lengths)]
        places_M = torch.from_numpy(np.concatenate(places)).to(device)
        num_tokens = -(-len(places_M) // _ROUND) * _ROUND
        return cls(places_M, num_tokens, len(lengths), longest)

    def pad(self, x_NK: torch.Tensor) -> torch.Tensor:
        """Shape (B, longest, K), with zeros for padding."""
        padded = spread(x_NK, self.places_M, self.num_rows * self.longest)
        return padded.view(self.num_rows, self.longest, -1)

    def unpad(self, x_BLK: torch.Tensor) -> torch.Tensor:
        """Shape (N, K), without padding."""
        return gather(x_BLK.flatten(0, 1), self.places_M, self.num_tokens)

    def mask(self) -> torch.Tensor:
        """Shape (B, longest), False at padding."""
        mask_P = torch.zeros(
            self.num_rows * self.longest, dtype=torch.bool, device=self.places_M.device
        )
        return mask_P.index_fill_(0, self.places_M, True).view(self.num_rows, self.longest)

    def dropout(self, x_NK: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
        """Drop what torch's dropout of padded rows drops; float32.

        torch draws numbers for padding too, and so does this, to draw the same ones.
        """
        if not training or rate == 0:
            return x_NK
        noise = torch.empty(
            self.num_rows * self.longest, x_NK.shape[1], dtype=torch.float32, device=x_NK.device
        )
        noise_NK = gather(noise.bernoulli_(1 - rate), self.places_M, self.num_tokens)
        return x_NK * noise_NK.div_(1 - rate)
