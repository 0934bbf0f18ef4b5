"""Token rows become padded tensors on the model's device.

Shape suffixes: B examples in a batch, S source tokens, T target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import T5ForConditionalGeneration

from tune_distill.distill.batches import IGNORED_LABEL, pad
from tune_distill.distill.tokens import Ints


@dataclass(frozen=True)
class Pairs:
    """Sources and targets of the same examples, cut to the trial's maximum lengths."""

    sources: Sequence[Ints]
    targets: Sequence[Ints]


@dataclass(frozen=True)
class Batch:
    """Padded examples: ids and mask int64 (B, S), labels int64 (B, T) with -100 ignored."""

    input_ids_BS: torch.Tensor
    attention_mask_BS: torch.Tensor
    labels_BT: torch.Tensor


def padded_sources(
    rows: Sequence[Ints], model: T5ForConditionalGeneration
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, int64 (B, S), padded to the longest row."""
    ids_BS = torch.from_numpy(pad(rows, int(model.config.pad_token_id)))  # type: ignore[arg-type]
    # From lengths, not from ids: a text may spell out the pad token.
    lengths_B = torch.tensor([len(row) for row in rows])
    mask_BS = (torch.arange(ids_BS.shape[1]) < lengths_B[:, None]).long()
    return ids_BS.to(model.device), mask_BS.to(model.device)


def collate(pairs: Pairs, indices: Sequence[int], model: T5ForConditionalGeneration) -> Batch:
    """The chosen examples as one batch, padded to its longest source and target."""
    ids_BS, mask_BS = padded_sources([pairs.sources[index] for index in indices], model)
    labels_BT = torch.from_numpy(pad([pairs.targets[index] for index in indices], IGNORED_LABEL))
    return Batch(ids_BS, mask_BS, labels_BT.to(model.device))
