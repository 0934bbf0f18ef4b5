"""A student is fine-tuned on token pairs, deterministically, and can go on from a checkpoint.

Shape suffixes: B examples in a batch, S source tokens, T target tokens, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from tune_distill.distill.batches import (
    IGNORED_LABEL,
    length_grouped,
    length_sorted,
    num_batches,
    num_steps,
)
from tune_distill.distill.checkpoints import Position
from tune_distill.distill.tensors import Batch, Pairs, collate
from tune_distill.records.runs import HistoryRow
from tune_distill.spec.errors import NonFiniteLossError
from tune_distill.spec.profile import Train

_EVAL_BATCH_SIZE = 64


def learning_rate_at(step: int, total: int, settings: Train) -> float:
    """The learning rate of optimizer step `step` (from 0): linear warm-up, then linear to 0.

    Source: transformers' get_linear_schedule_with_warmup.
    """
    warmup = round(total * settings.warmup_fraction)
    if step < warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * max(0.0, (total - step) / max(1, total - warmup))


def token_losses(
    model: T5ForConditionalGeneration, batch: Batch, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over the labels, with smoothing (to train on) and without (to compare).

    Both float32 scalars; the second carries no gradient.
    """
    flat_NV, labels_N = _logits(model, batch).flatten(0, 1), batch.labels_BT.flatten()
    smoothed = cross_entropy(flat_NV, labels_N, label_smoothing=label_smoothing)
    if label_smoothing == 0:
        return smoothed, smoothed.detach()
    return smoothed, cross_entropy(flat_NV.detach(), labels_N)


def _logits(model: T5ForConditionalGeneration, batch: Batch) -> torch.Tensor:
    """The model's logits at each label, float32 (B, T, V)."""
    device_type = batch.labels_BT.device.type
    bf16 = device_type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(device_type, torch.bfloat16, enabled=bf16):
        logits_BTV: torch.Tensor = model(
            input_ids=batch.input_ids_BS,
            attention_mask=batch.attention_mask_BS,
            decoder_input_ids=model._shift_right(batch.labels_BT),
            use_cache=False,
        ).logits
    return logits_BTV.float()


@dataclass(frozen=True, slots=True)
class ExampleLoss:
    """Cross-entropy of one example's target, without smoothing: the sum over its tokens."""

    total: float
    num_tokens: int

    @property
    def per_token(self) -> float:
        return self.total / self.num_tokens


@torch.no_grad()
def example_losses(model: T5ForConditionalGeneration, pairs: Pairs) -> list[ExampleLoss]:
    """The loss of each pair, in the order of the pairs, without smoothing or dropout."""
    was_training = model.training
    model.eval()
    losses: dict[int, ExampleLoss] = {}
    for indices in length_sorted([len(row) for row in pairs.sources], _EVAL_BATCH_SIZE):
        batch = collate(pairs, indices, model)
        labels_BT = batch.labels_BT
        flat_NV, labels_N = _logits(model, batch).flatten(0, 1), labels_BT.flatten()
        # Ignored labels have a loss of 0.
        losses_BT = cross_entropy(flat_NV, labels_N, reduction="none").view_as(labels_BT)
        totals_B = losses_BT.sum(1, dtype=torch.float64)
        counts_B = (labels_BT != IGNORED_LABEL).sum(1)
        rows = map(ExampleLoss, totals_B.tolist(), counts_B.tolist())
        losses |= dict(zip(indices, rows, strict=True))
    model.train(was_training)
    return [losses[index] for index in range(len(losses))]


def mean_loss(losses: Sequence[ExampleLoss]) -> float:
    """Cross-entropy a target token over all of the examples: each token weighs alike."""
    return math.fsum(loss.total for loss in losses) / sum(loss.num_tokens for loss in losses)


def evaluation_loss(model: T5ForConditionalGeneration, pairs: Pairs) -> float:
    """Cross-entropy a target token over all pairs, without smoothing or dropout."""
    return mean_loss(example_losses(model, pairs))


class Training:
    """One fine-tuning, from its first step or from a checkpoint, to its last."""

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        train: Pairs,
        validation: Pairs,
        settings: Train,
        seed: int,
    ) -> None:
        self.model = model
        self.optimizer = _optimizer(model, settings)
        self.total_steps = num_steps(len(train.sources), settings)
        self.position = Position(0, 0.0, ())
        self._train, self._validation = train, validation
        self._settings, self._seed = settings, seed
        # Losses since the last history row, left on the device: reading one waits for the GPU.
        self._window: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._started = 0.0

    def run(self) -> Iterator[HistoryRow]:
        """Trains to the end, yielding the history row of each evaluation.

        `position` is up to date at each yield, and a checkpoint taken there resumes exactly.

        Raises:
            NonFiniteLossError: the loss of a step, or the evaluation loss after it, is NaN or
                infinite; the step is named.
        """
        self._started = time.perf_counter() - self.position.elapsed_s
        self.model.train()
        for indices in self._remaining_batches():
            step = self.position.step
            rate = learning_rate_at(step, self.total_steps, self._settings)
            self._step(indices, rate)
            self.position = replace(self.position, step=step + 1, elapsed_s=self._elapsed())
            row = self._history_row(rate)
            if row is not None and row.eval_loss is not None:
                yield row
                # The time that the caller took is not training time.
                self._started = time.perf_counter() - self.position.elapsed_s

    def _remaining_batches(self) -> Iterator[list[int]]:
        lengths = [
            len(source) + len(target)
            for source, target in zip(self._train.sources, self._train.targets, strict=True)
        ]
        batch_size = self._settings.batch_size
        done_epochs, done_batches = divmod(
            self.position.step, num_batches(len(lengths), batch_size)
        )
        for epoch in range(done_epochs, self._settings.num_epochs):
            batches = length_grouped(lengths, batch_size, self._seed, epoch)
            yield from batches[done_batches if epoch == done_epochs else 0 :]

    def _step(self, indices: Sequence[int], rate: float) -> None:
        batch = collate(self._train, indices, self.model)
        loss, unsmoothed = token_losses(self.model, batch, self._settings.label_smoothing)
        loss = loss * self._settings.ce_weight
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._window.append((loss.detach(), unsmoothed))

    def _history_row(self, rate: float) -> HistoryRow | None:
        """The row of this step, where one is due; it is in `position` then."""
        step, settings = self.position.step, self._settings
        last = step == self.total_steps
        evaluates = last or step % settings.eval_steps == 0
        if not evaluates and step % settings.logging_steps != 0:
            return None
        losses = torch.tensor([float(loss) for loss, _ in self._window])
        self._require_finite(losses)
        unsmoothed = torch.tensor([float(loss) for _, loss in self._window])
        self._window.clear()
        evaluation = evaluation_loss(self.model, self._validation) if evaluates else None
        if evaluation is not None and not math.isfinite(evaluation):
            raise NonFiniteLossError(step, evaluation)
        row = HistoryRow(
            step=step,
            epoch=step / num_batches(len(self._train.sources), settings.batch_size),
            train_loss=float(losses.mean()),
            unsmoothed_train_loss=float(unsmoothed.mean()),
            eval_loss=evaluation,
            learning_rate=rate,
            elapsed_s=self._elapsed(),
        )
        history = (*self.position.history, row)
        self.position = replace(self.position, elapsed_s=row.elapsed_s, history=history)
        return row

    def _require_finite(self, losses: torch.Tensor) -> None:
        bad = (~torch.isfinite(losses)).nonzero().flatten()
        if len(bad):
            first = int(bad[0])
            raise NonFiniteLossError(
                self.position.step - len(losses) + first + 1, float(losses[first])
            )

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def _optimizer(model: torch.nn.Module, settings: Train) -> torch.optim.AdamW:
    """Fused AdamW that leaves norms and biases, position biases too, undecayed.

    Source: the parameter groups of transformers' Trainer.
    """
    named = list(model.named_parameters())
    free = {name for name, value in named if value.ndim <= 1 or "bias" in name}
    return torch.optim.AdamW(
        [
            {
                "params": [value for name, value in named if name not in free],
                "weight_decay": settings.weight_decay,
            },
            {"params": [value for name, value in named if name in free], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        fused=True,
    )
