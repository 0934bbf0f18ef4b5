"""Deterministic fine-tuning of a student on token pairs, which can resume from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tune_distill.records.runs import HistoryRow
from tune_distill.spec.errors import NonFiniteLossError
from tune_distill.spec.profile import Train
from tune_distill.students.batches import length_grouped, num_batches, num_steps
from tune_distill.students.model import Model
from tune_distill.students.precision import exact_products
from tune_distill.students.tokens import Pairs
from tune_distill.tasks.answers import ExampleLoss
from tune_distill.training.checkpoints import Position
from tune_distill.training.losses import batch_losses, example_losses, loss_terms, mean_loss


def learning_rate_at(step: int, total: int, hyperparameters: Train) -> float:
    """Return the learning rate of optimizer step `step` (from 0): linear warm-up, then linear to 0.

    Source: transformers' get_linear_schedule_with_warmup.
    """
    warmup = round(total * hyperparameters.warmup_fraction)
    if step < warmup:
        return hyperparameters.learning_rate * step / warmup
    return hyperparameters.learning_rate * max(0.0, (total - step) / max(1, total - warmup))


class Training:
    """One fine-tuning, from its first step or from a checkpoint to its last step."""

    def __init__(
        self,
        model: Model,
        train: Pairs,
        validation: Pairs,
        hyperparameters: Train,
        seed: int,
    ) -> None:
        self.model = model
        model.precision = hyperparameters.precision
        self.optimizer = _optimizer(model, hyperparameters)
        self.total_steps = num_steps(len(train.sources), hyperparameters)
        self.position = Position(0, 0.0, ())
        # The losses of the latest evaluation.
        self.validation_losses: list[ExampleLoss] = []
        self._train, self._validation = train, validation
        self._hyperparameters, self._seed = hyperparameters, seed
        self._terms = loss_terms(hyperparameters)
        # Losses since the last history row, kept on the device: reading one waits for the GPU.
        self._window: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._started = 0.0

    def run(self) -> Iterator[HistoryRow]:
        """Train to the end and yield the history row of each evaluation.

        `position` is up to date at each yield, and a checkpoint saved then resumes exactly.

        Raises:
            NonFiniteLossError: the loss of a step, or the evaluation loss after it, is NaN or
                infinite; the error names the step.
        """
        self._started = time.perf_counter() - self.position.elapsed_s
        self.model.train()
        for indices in self._remaining_batches():
            step = self.position.step
            rate = learning_rate_at(step, self.total_steps, self._hyperparameters)
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
        batch_size = self._hyperparameters.batch_size
        done_epochs, done_batches = divmod(
            self.position.step, num_batches(len(lengths), batch_size)
        )
        for epoch in range(done_epochs, self._hyperparameters.num_epochs):
            batches = length_grouped(lengths, batch_size, self._seed, epoch)
            yield from batches[done_batches if epoch == done_epochs else 0 :]

    @exact_products()
    def _step(self, indices: Sequence[int], rate: float) -> None:
        loss, unsmoothed = batch_losses(self.model, self._train, indices, self._terms)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._hyperparameters.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._window.append((loss.detach(), unsmoothed))

    def _history_row(self, rate: float) -> HistoryRow | None:
        """Return this step's row after adding it to `position`, or None if no row is due."""
        step, hyperparameters = self.position.step, self._hyperparameters
        last = step == self.total_steps
        evaluates = last or step % hyperparameters.eval_steps == 0
        if not evaluates and step % hyperparameters.logging_steps != 0:
            return None
        losses = torch.tensor([float(loss) for loss, _ in self._window])
        self._require_finite(losses)
        unsmoothed = torch.tensor([float(loss) for _, loss in self._window])
        self._window.clear()
        evaluation = None
        if evaluates:
            self.validation_losses = example_losses(self.model, self._validation)
            evaluation = mean_loss(self.validation_losses)
        if evaluation is not None and not math.isfinite(evaluation):
            raise NonFiniteLossError(step, evaluation)
        row = HistoryRow(
            step=step,
            epoch=step / num_batches(len(self._train.sources), hyperparameters.batch_size),
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
            step = self.position.step - len(losses) + first + 1
            raise NonFiniteLossError(step, float(losses[first]), updates=step - 1)

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def _optimizer(model: torch.nn.Module, hyperparameters: Train) -> torch.optim.AdamW:
    """Return a fused AdamW without weight decay of norms and biases, position biases included.

    Source: the parameter groups of transformers' Trainer.
    """
    named = list(model.named_parameters())
    free = {name for name, value in named if value.ndim <= 1 or "bias" in name}
    return torch.optim.AdamW(
        [
            {
                "params": [value for name, value in named if name not in free],
                "weight_decay": hyperparameters.weight_decay,
            },
            {"params": [value for name, value in named if name in free], "weight_decay": 0.0},
        ],
        lr=hyperparameters.learning_rate,
        fused=True,
    )
