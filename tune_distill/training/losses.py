"""The loss that training minimises, and a student's loss on the targets of given examples.

Shape suffixes: M labels (the tokens of all targets in a batch), V vocabulary, B targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import log_softmax

from tune_distill.spec.profile import Train
from tune_distill.students.batches import length_sorted
from tune_distill.students.model import Model
from tune_distill.students.precision import exact_products
from tune_distill.students.tokens import Pairs
from tune_distill.tasks.answers import ExampleLoss

_EVAL_BATCH_SIZE = 64


class LossTerm(Protocol):
    """One term of the loss that training minimises."""

    def __call__(
        self, logits_MV: torch.Tensor, labels_M: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted term, and the same without its regularisation or weight.

        Both are float32 scalars. The second carries no gradient: it compares runs whose
        regularisation differs.
        """
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross-entropy over the labels, with label smoothing, times `weight`."""

    label_smoothing: float = 0.0
    weight: float = 1.0

    def __call__(
        self, logits_MV: torch.Tensor, labels_M: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the smoothed, weighted loss and the plain one."""
        smoothed, plain = _CrossEntropy.apply(logits_MV, labels_M, self.label_smoothing)
        return smoothed * self.weight, plain


def loss_terms(train: Train) -> tuple[LossTerm, ...]:
    """Return the terms that this section of a profile asks for."""
    return (CrossEntropy(train.label_smoothing, train.ce_weight),)


def batch_losses(
    model: Model, pairs: Pairs, indices: Sequence[int], terms: Sequence[LossTerm]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the chosen pairs' sums of the terms, to minimise and to compare: see `LossTerm`."""
    logits_MV = model.label_logits(pairs, indices)
    labels_M = _labels(pairs, indices, model.device)
    losses, compared = zip(*(term(logits_MV, labels_M) for term in terms), strict=True)
    return sum(losses[1:], losses[0]), sum(compared[1:], compared[0])


@exact_products()
@torch.no_grad()
def example_losses(model: Model, pairs: Pairs) -> list[ExampleLoss]:
    """Return the loss of each pair, in the order of the pairs, without smoothing or dropout."""
    was_training = model.training
    model.eval()
    totals_B = torch.zeros(len(pairs.sources), dtype=torch.float64)
    for indices in length_sorted([len(row) for row in pairs.sources], _EVAL_BATCH_SIZE):
        logits_MV = model.label_logits(pairs, indices)
        labels_M = _labels(pairs, indices, model.device)
        picked_M = logits_MV.gather(1, labels_M[:, None])[:, 0]
        losses_M = (logits_MV.logsumexp(1) - picked_M).double()
        rows_M = torch.tensor(indices).repeat_interleave(
            torch.tensor([len(pairs.targets[index]) for index in indices])
        )
        totals_B.index_add_(0, rows_M, losses_M.cpu())
    model.train(was_training)
    counts = map(len, pairs.targets)
    return [ExampleLoss(*loss) for loss in zip(totals_B.tolist(), counts, strict=True)]


def mean_loss(losses: Sequence[ExampleLoss]) -> float:
    """Return the mean cross-entropy per target token of all examples; each token weighs alike."""
    return fsum(loss.total for loss in losses) / sum(loss.num_tokens for loss in losses)


def _labels(pairs: Pairs, indices: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return the labels of the chosen pairs, int64 (M,), target after target."""
    labels_M = np.concatenate([pairs.targets[index] for index in indices]).astype(np.int64)
    return torch.from_numpy(labels_M).to(device)


class _CrossEntropy(torch.autograd.Function):
    """torch's cross_entropy with and without smoothing, with one log-softmax for both."""

    @staticmethod
    def forward(
        ctx: Any, logits_MV: torch.Tensor, labels_M: torch.Tensor, label_smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logs_MV = log_softmax(logits_MV, dim=1)
        ctx.save_for_backward(logs_MV, labels_M)
        ctx.label_smoothing = label_smoothing
        unsmoothed = -logs_MV.gather(1, labels_M[:, None]).mean()
        ctx.mark_non_differentiable(unsmoothed)
        if label_smoothing == 0:
            return unsmoothed.clone(), unsmoothed
        smoothed = (1 - label_smoothing) * unsmoothed - label_smoothing * logs_MV.mean()
        return smoothed, unsmoothed

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logs_MV, labels_M = ctx.saved_tensors
        (num_labels, num_tokens), smoothing = logs_MV.shape, ctx.label_smoothing
        # In place, because for a large vocabulary this is the step's largest tensor, and no other
        # code reads it.
        for_logits_MV = logs_MV.exp_()
        if smoothing:
            for_logits_MV.sub_(smoothing / num_tokens)
        rest_M1 = logs_MV.new_full((num_labels, 1), smoothing - 1)
        for_logits_MV.scatter_add_(1, labels_M[:, None], rest_M1)
        return for_logits_MV.mul_(gradients[0] / num_labels), None, None
