"""Turns rows of tokens into tensors on the model's device.

Shape suffixes: M the tokens of all rows, N the same filled up to a round number (see Layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tune_distill.students.t5.layout import Layout
from tune_distill.students.tokens import Ints, Pairs


@dataclass(frozen=True)
class Batch:
    """Examples without padding, row after row.

    Both tensors of ids are int64 (N,). The decoder's inputs are the labels, shifted right by one
    token.
    """

    source_ids_N: torch.Tensor
    sources: Layout
    decoder_ids_N: torch.Tensor
    targets: Layout


def collate(pairs: Pairs, indices: Sequence[int], start_token: int, device: torch.device) -> Batch:
    """Return the chosen examples as one batch, whose decoder starts from `start_token`."""
    return Batch(
        *joined([pairs.sources[index] for index in indices], device),
        *joined(pairs.late_targets(indices, start_token), device),
    )


def joined(rows: Sequence[Ints], device: torch.device) -> tuple[torch.Tensor, Layout]:
    """Return the rows' ids one after the other, int64 (N,), and their layout."""
    layout = Layout.of([len(row) for row in rows], device)
    ids_N = np.zeros(layout.num_tokens, np.int64)
    np.concatenate(rows, out=ids_N[: len(layout.places_M)])
    return torch.from_numpy(ids_N).to(device), layout
