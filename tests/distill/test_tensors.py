"""Batches are padded to their own longest rows, and masked by length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tune_distill.distill.students import load_model
from tune_distill.distill.tensors import Pairs, collate, padded_sources
from tune_distill.spec.profile import Student

# Seven tokens in the longest source, four in the longest target; the second source spells "<pad>".
PAIRS = Pairs(
    [np.array(ids, np.int32) for ids in ([5, 6, 1], [7, 0, 8, 0, 9, 0, 1], [5] * 20)],
    [np.array(ids, np.int32) for ids in ([4, 3, 2, 1], [6, 1], [5] * 30)],
)


def test_a_batch_is_as_wide_as_its_own_rows(tiny_t5: Path) -> None:
    batch = collate(PAIRS, [1, 0], load_model(Student(source=str(tiny_t5))))
    assert batch.input_ids_BS.tolist() == [[7, 0, 8, 0, 9, 0, 1], [5, 6, 1, 0, 0, 0, 0]]
    assert batch.attention_mask_BS.tolist() == [[1] * 7, [1, 1, 1, 0, 0, 0, 0]]
    assert batch.labels_BT.tolist() == [[6, 1, -100, -100], [4, 3, 2, 1]]
    for tensor in (batch.input_ids_BS, batch.attention_mask_BS, batch.labels_BT):
        assert tensor.dtype == torch.int64


def test_padding_is_the_model_s_own(tiny_t5: Path) -> None:
    model = load_model(Student(source=str(tiny_t5)))
    model.config.pad_token_id = 3
    ids_BS, mask_BS = padded_sources(PAIRS.sources[:2], model)
    assert ids_BS[0].tolist() == [5, 6, 1, 3, 3, 3, 3]
    assert mask_BS.sum(dim=1).tolist() == [3, 7]
