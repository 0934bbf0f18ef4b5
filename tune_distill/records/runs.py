"""The records of runs and evaluations in a store, and their schemas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field

# Records are validated strictly: a text is not taken for a number, and every number is finite.
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class HistoryRow:
    """The losses at one step.

    `train_loss` is the mean since the previous row of the minimised loss, with label smoothing and
    times ce_weight; `unsmoothed_train_loss` has neither. `eval_loss` is None between evaluations.
    """

    __pydantic_config__ = _STRICT

    step: int
    epoch: float
    train_loss: float
    unsmoothed_train_loss: float
    eval_loss: float | None
    learning_rate: float
    elapsed_s: float


def without_eval_loss(history: Iterable[HistoryRow]) -> tuple[HistoryRow, ...]:
    """Return the history without eval losses, because they were measured on other examples."""
    return tuple(replace(row, eval_loss=None) for row in history)


@dataclass(frozen=True)
class RunRecord:
    """The record of a finished training.

    The eval losses, also those of `history`, were measured on the examples of `validation_digest`.
    The last digits of all losses depend on `device` ("cpu" or the GPU's name), `instruction_set`
    (with the processor's model) and `precision` (of the arithmetic).
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
    """The record of one decoding and scoring of a run."""

    __pydantic_config__ = _STRICT

    metrics: dict[str, float | None]
    eval_loss: float
    num_validation: int
    decode_time_s: float


@dataclass(frozen=True)
class StoredRun:
    """The content of run.json. `student` is the name of the trained student's folder beside it."""

    __pydantic_config__ = _STRICT

    record: RunRecord
    student: Annotated[str, Field(pattern=r"^student-[0-9a-f]{12}$")]


@dataclass(frozen=True)
class PrunedRun:
    """The history of a run that a search stopped early."""

    __pydantic_config__ = _STRICT

    history: tuple[HistoryRow, ...]
