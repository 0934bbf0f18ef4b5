"""Cross-entropy of a student's targets, with and without smoothing.

Shape suffixes: N labels (the tokens of all targets), D model dimensions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Any

import torch
from torch.nn.functional import log_softmax

from tune_distill.students.batches import length_sorted
from tune_distill.students.precision import exact_products, products_in
from tune_distill.students.t5.model import T5
from tune_distill.students.tensors import Batch, Pairs, collate
from tune_distill.tasks.scoring import ExampleLoss

_EVAL_BATCH_SIZE = 64


def token_losses(
    model: T5, batch: Batch, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over the labels, with smoothing (to train on) and without (to compare).

    Both float32 scalars; the second carries no gradient.
    """
    losses: tuple[torch.Tensor, torch.Tensor] = _CrossEntropy.apply(
        _logits(model, batch), batch.labels_M, label_smoothing
    )
    return losses


@exact_products()
@torch.no_grad()
def example_losses(model: T5, pairs: Pairs) -> list[ExampleLoss]:
    """The loss of each pair, in the order of the pairs, without smoothing or dropout."""
    was_training = model.training
    model.eval()
    totals = torch.zeros(len(pairs.sources), dtype=torch.float64)
    for indices in length_sorted([len(row) for row in pairs.sources], _EVAL_BATCH_SIZE):
        batch = collate(pairs, indices, model)
        logits_NV = _logits(model, batch)
        picked_N = logits_NV.gather(1, batch.labels_M[:, None])[:, 0]
        losses_N = (logits_NV.logsumexp(1) - picked_N).double()
        rows_N = torch.tensor(indices).repeat_interleave(
            torch.tensor([len(pairs.targets[index]) for index in indices])
        )
        totals.index_add_(0, rows_N, losses_N.cpu())
    model.train(was_training)
    counts = map(len, pairs.targets)
    return [ExampleLoss(*loss) for loss in zip(totals.tolist(), counts, strict=True)]


def mean_loss(losses: Sequence[ExampleLoss]) -> float:
    """Cross-entropy a target token over all of the examples: each token weighs alike."""
    return fsum(loss.total for loss in losses) / sum(loss.num_tokens for loss in losses)


def evaluation_loss(model: T5, pairs: Pairs) -> float:
    """Cross-entropy a target token over all pairs, without smoothing or dropout."""
    return mean_loss(example_losses(model, pairs))


def _logits(model: T5, batch: Batch) -> torch.Tensor:
    """The model's logits at each label, float32 (N, V), computed in the model's precision."""
    with products_in(model.precision, model.device):
        hidden_ND = model(batch.source_ids_N, batch.sources, batch.decoder_ids_N, batch.targets)
        logits_NV = model.logits(hidden_ND)[: len(batch.labels_M)]
    return logits_NV.float()


class _CrossEntropy(torch.autograd.Function):
    """As torch's cross_entropy, whose two calls, for both losses, would normalise twice."""

    @staticmethod
    def forward(
        ctx: Any, logits_NV: torch.Tensor, labels_N: torch.Tensor, label_smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logs_NV = log_softmax(logits_NV, dim=1)
        ctx.save_for_backward(logs_NV, labels_N)
        ctx.label_smoothing = label_smoothing
        unsmoothed = -logs_NV.gather(1, labels_N[:, None]).mean()
        ctx.mark_non_differentiable(unsmoothed)
        if label_smoothing == 0:
            return unsmoothed.clone(), unsmoothed
        smoothed = (1 - label_smoothing) * unsmoothed - label_smoothing * logs_NV.mean()
        return smoothed, unsmoothed

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logs_NV, labels_N = ctx.saved_tensors
        (num_labels, num_tokens), smoothing = logs_NV.shape, ctx.label_smoothing
        # In place: for a large vocabulary this is the step's largest tensor, and nobody's else.
        for_logits_NV = logs_NV.exp_()
        if smoothing:
            for_logits_NV.sub_(smoothing / num_tokens)
        rest_N1 = logs_NV.new_full((num_labels, 1), smoothing - 1)
        for_logits_NV.scatter_add_(1, labels_N[:, None], rest_N1)
        return for_logits_NV.mul_(gradients[0] / num_labels), None, None
