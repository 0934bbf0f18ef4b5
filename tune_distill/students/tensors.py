"""Token rows become tensors on the model's device.

Shape suffixes: N and M the tokens of all rows, filled up and not (see Layout).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tune_distill.students.t5.layout import Layout
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Ints


@dataclass(frozen=True)
class Pairs:
    """Sources and targets of the same examples, cut to the trial's maximum lengths."""

    sources: Sequence[Ints]
    targets: Sequence[Ints]


@dataclass(frozen=True)
class Batch:
    """Examples without padding, row after row: int64 (N,) of the sources and (N,) of the targets,
    each filled up to a round number as their layout says; labels, (M,), are not.

    The decoder's inputs are the labels, one token late.
    """

    source_ids_N: torch.Tensor
    sources: Layout
    decoder_ids_N: torch.Tensor
    targets: Layout
    labels_M: torch.Tensor


def collate(pairs: Pairs, indices: Sequence[int], model: T5) -> Batch:
    """The chosen examples as one batch."""
    targets = [pairs.targets[index] for index in indices]
    start = np.array([model.config.decoder_start_token_id], np.int32)
    return Batch(
        *joined([pairs.sources[index] for index in indices], model.device),
        *joined([np.concatenate((start, target[:-1])) for target in targets], model.device),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(model.device),
    )


def joined(rows: Sequence[Ints], device: torch.device) -> tuple[torch.Tensor, Layout]:
    """The rows' ids one after the other, int64 (N,), and where they stand in their rows."""
    layout = Layout.of([len(row) for row in rows], device)
    ids_N = np.zeros(layout.num_tokens, np.int64)
    np.concatenate(rows, out=ids_N[: len(layout.places_M)])
    return torch.from_numpy(ids_N).to(device), layout
