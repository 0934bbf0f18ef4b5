"""What a training and an evaluation leave beside their files, and the schemas of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field

# Records are read back strictly: no text stands for a number, and every number is finite.
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class HistoryRow:
    """Losses at one step. `train_loss` is the mean since the row before of what was minimised,
    with label smoothing and times ce_weight; `unsmoothed_train_loss` is without either.
    `eval_loss` is none between evaluations."""

    __pydantic_config__ = _STRICT

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

    __pydantic_config__ = _STRICT

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
    history: Annotated[tuple[HistoryRow, ...], Field(min_length=1)]


@dataclass(frozen=True)
class EvaluationRecord:
    """What a decoding and scoring of a run leaves beside its predictions."""

    __pydantic_config__ = _STRICT

    metrics: dict[str, float | None]
    eval_loss: float
    num_validation: int
    decode_time_s: float


@dataclass(frozen=True)
class StoredRun:
    """The content of run.json. `student` is the folder of the trained student, beside it."""

    __pydantic_config__ = _STRICT

    record: RunRecord
    student: Annotated[str, Field(pattern=r"^student-[0-9a-f]{12}$")]


@dataclass(frozen=True)
class PrunedRun:
    """What a run reported before a search stopped it early."""

    __pydantic_config__ = _STRICT

    history: tuple[HistoryRow, ...]
