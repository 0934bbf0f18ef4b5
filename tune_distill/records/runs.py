"""What a training and an evaluation leave beside their files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class HistoryRow:
    """Losses at one step. `train_loss` is the mean since the row before of what was minimised,
    with label smoothing and times ce_weight; `unsmoothed_train_loss` is without either.
    `eval_loss` is none between evaluations."""

    step: int
    epoch: float
    train_loss: float
    unsmoothed_train_loss: float
    eval_loss: float | None
    learning_rate: float
    elapsed_s: float


def without_eval_loss(history: Iterable[HistoryRow]) -> tuple[HistoryRow, ...]:
    """The history of a training whose evaluations were of other examples than are asked for."""
    return tuple(replace(row, eval_loss=None) for row in history)


@dataclass(frozen=True)
class RunRecord:
    """What a finished training leaves beside its student.

    `eval_loss` and those of `history` were measured on the examples of `validation_digest`.
    `device` is "cpu" or the GPU's name, `instruction_set` that of the device with its processor,
    and `precision` the arithmetic's: what the last digits depend on.
    """

    num_train: int
    num_steps: int
    final_train_loss: float
    eval_loss: float
    validation_digest: str
    training_time_s: float
    examples_per_s: float
    source_truncated_fraction: float
    target_truncated_fraction: float
    device: str
    instruction_set: str
    precision: str
    history: tuple[HistoryRow, ...]


@dataclass(frozen=True)
class EvaluationRecord:
    """What a decoding and scoring of a run leaves beside its predictions."""

    metrics: dict[str, float | None]
    eval_loss: float
    num_validation: int
    decode_time_s: float
