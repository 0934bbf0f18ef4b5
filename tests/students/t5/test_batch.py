"""Batches hold the tokens of their rows, and know their places."""

from __future__ import annotations

import numpy as np
import torch

from tune_distill.students.t5.batch import collate
from tune_distill.students.t5.layout import Layout
from tune_distill.students.tokens import Pairs

# Of the first two pairs, the longest source has seven tokens and the longest target four; the
# second source contains the pad token.
PAIRS = Pairs(
    [np.array(ids, np.int32) for ids in ([5, 6, 1], [7, 0, 8, 0, 9, 0, 1], [5] * 20)],
    [np.array(ids, np.int32) for ids in ([4, 3, 2, 1], [6, 1], [5] * 30)],
)


def test_a_batch_holds_its_rows_without_padding() -> None:
    batch = collate(PAIRS, [1, 0], 3, torch.device("cpu"))
    assert batch.source_ids_N.tolist() == [7, 0, 8, 0, 9, 0, 1, 5, 6, 1] + [0] * 22
    assert batch.decoder_ids_N.tolist() == [3, 6, 3, 4, 3, 2] + [0] * 26
    assert batch.sources.places_M.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert batch.targets.places_M.tolist() == [0, 1, 4, 5, 6, 7]
    assert batch.sources.mask().tolist() == [[True] * 7, [True] * 3 + [False] * 4]
    assert (batch.sources.num_tokens, batch.sources.num_rows, batch.sources.longest) == (32, 2, 7)
    for ids in (batch.source_ids_N, batch.decoder_ids_N):
        assert ids.dtype == torch.int64


def test_rows_are_padded_and_unpadded_to_themselves() -> None:
    layout = Layout.of([3, 1, 2], torch.device("cpu"))
    x_NK = torch.arange(2.0 * layout.num_tokens).view(-1, 2).requires_grad_()
    padded = layout.pad(x_NK)
    assert padded[1, 1:].abs().sum() == 0
    assert torch.equal(padded[2, 1], x_NK[5])
    back = layout.unpad(padded)
    assert torch.equal(back[:6], x_NK[:6])
    assert back[6:].abs().sum() == 0
    (back * back).sum().backward()
    expected = 2 * x_NK.detach()
    expected[6:] = 0
    assert torch.equal(x_NK.grad, expected)


def test_dropout_drops_as_torch_drops_from_padded_rows() -> None:
    layout = Layout.of([3, 1, 2], torch.device("cpu"))
    x_NK = torch.rand(layout.num_tokens, 40) + 1
    torch.manual_seed(0)
    expected = torch.nn.functional.dropout(layout.pad(x_NK), 0.3)
    torch.manual_seed(0)
    dropped = layout.dropout(x_NK, 0.3, training=True)
    assert torch.equal(dropped[:6], layout.unpad(expected)[:6])
    assert 0.1 < (dropped[:6] == 0).float().mean() < 0.5
    assert layout.dropout(x_NK, 0.3, training=False) is x_NK
