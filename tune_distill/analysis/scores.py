"""The scores of a study's trials, as arrays: one number per example, metric and trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tune_distill.records.schemas import gap, misfit
from tune_distill.spec.errors import StoreError
from tune_distill.spec.metrics import JUDGED, METRICS

Real = NDArray[np.float64]

UNPARSED = "unparsed"
"""The name for an answer that gives no label."""

# For each metric: the column of predictions that it is the mean of, and the column of weights.
_SOURCES = {name: column for name in JUDGED if (column := METRICS[name].answer_column)}
_WEIGHTS = {name: column for name in JUDGED if (column := METRICS[name].weight_column)}


@dataclass(frozen=True)
class Scores:
    """Numbers of T trials on E examples.

    The mean of `values[metric]` (T, E) over a trial's examples is the trial's metric; NaN if the
    trial has no such example. A mean of ratios, such as the loss per token, is made a plain mean by
    linearising it about the trial's own value (Taylor; Cochran 1977, ch. 6). A metric that no trial
    has is left out. `answers` (T, L, L + 1) counts gold label by answer, the unparsed ones last;
    `labels` are the task's L labels, empty if its answers are free. `num_samples` (T) is each
    trial's largest number of answers to one example.
    """

    trial_ids: list[str]
    example_ids: list[str]
    values: dict[str, Real]
    answers: NDArray[np.int64]
    num_samples: NDArray[np.int64]
    labels: tuple[str, ...]


def read_scores(path: Path, trial_ids: Sequence[str], labels: Sequence[str]) -> Scores:
    """Return these trials' scores in a predictions table; only a part of it is in memory at a time.

    Raises:
        StoreError: the table is missing, is not one of ours, or lacks one of the trials.
    """
    try:
        with pq.ParquetFile(path) as file:
            if reason := misfit("predictions", file.schema_arrow):
                raise pa.ArrowInvalid(reason)
            return _read(file, path, list(trial_ids), tuple(labels))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise StoreError(
            f"{path}: must be a predictions table, got {' '.join(str(error).split())[:300]}; "
            "copy the whole folder, or run the study again"
        ) from error


def _read(
    file: pq.ParquetFile, path: Path, trial_ids: list[str], labels: tuple[str, ...]
) -> Scores:
    names = set(file.schema_arrow.names)
    metrics = [metric for metric, column in _SOURCES.items() if column in names]
    example_ids = _example_ids(file)
    shape = (len(trial_ids), len(example_ids))
    totals = {metric: np.zeros(shape) for metric in metrics}
    # Metrics without weights and nulls share the numbers of answers, under ''.
    counts = {metric: np.zeros(shape) for metric in ("", *_WEIGHTS, *_with_nulls(file, metrics))}
    answers = np.zeros((len(trial_ids), len(labels), len(labels) + 1), np.int64)
    trials = {trial_id: number for number, trial_id in enumerate(trial_ids)}
    examples = {example_id: number for number, example_id in enumerate(example_ids)}
    for part, numbers in _parts(file, metrics, trials):
        # Sums have rows only for the part's own trials, which may be thousands or one.
        here, rows = np.unique(numbers, return_inverse=True)
        cells = rows * shape[1] + _positions(part.column("example_id"), examples)
        own = (len(here), shape[1])
        counts[""][here] += _sums(cells, None, own)
        for metric in metrics:
            value, weight = _summed(part, metric)
            totals[metric][here] += _sums(cells, value * weight, own)
            if metric in counts:
                counts[metric][here] += _sums(cells, weight, own)
        if labels:
            answers[here] += _answers(path, part, rows, len(here), labels)
    _require_all(path, trial_ids, counts[""])
    values = {}
    for metric in metrics:
        count = counts.get(metric, counts[""])
        if count.any():
            # Popped, because with a hundred settings each of these takes tens of megabytes.
            values[metric] = _linearised(totals.pop(metric), count, counts[""] > 0)
    num_samples = counts[""].max(axis=1, initial=0).astype(np.int64)
    return Scores(trial_ids, example_ids, values, answers, num_samples, labels)


def _with_nulls(file: pq.ParquetFile, metrics: Iterable[str]) -> list[str]:
    """Return the metrics for which some answers may have no value."""
    sources = {_SOURCES[metric]: metric for metric in metrics if not METRICS[metric].counts_present}
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return list(
        {
            sources[chunk.path_in_schema]: None
            for chunk in chunks
            if chunk.path_in_schema in sources
            and not (chunk.statistics and chunk.statistics.null_count == 0)
        }
    )


def _example_ids(file: pq.ParquetFile) -> list[str]:
    """Return every example of the table, in order of first appearance."""
    seen: dict[str, None] = {}
    for number in range(file.num_row_groups):
        column = file.read_row_group(number, columns=["example_id"]).column("example_id")
        seen |= dict.fromkeys(column.unique().to_pylist())
    return list(seen)


def _parts(
    file: pq.ParquetFile, metrics: Sequence[str], trials: dict[str, int]
) -> Iterator[tuple[pa.Table, NDArray[np.intp]]]:
    """Yield these trials' rows and each row's trial number; a trial may come in several parts."""
    wanted = {_SOURCES[metric] for metric in metrics} | {
        _WEIGHTS[metric] for metric in metrics if metric in _WEIGHTS
    }
    columns = ["trial_id", "example_id", "gold_label", "predicted_label", *sorted(wanted)]
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=list(dict.fromkeys(columns)))
        with_nulls = (name for name in table.column_names if table.column(name).null_count)
        if reason := gap("predictions", with_nulls):
            raise pa.ArrowInvalid(reason)
        numbers = _positions(table.column("trial_id"), trials)
        wanted_rows = numbers >= 0
        if wanted_rows.all():
            yield table, numbers
        else:
            yield table.filter(pa.array(wanted_rows)), numbers[wanted_rows]


def _positions(column: pa.ChunkedArray, known: dict[str, int]) -> NDArray[np.intp]:
    """Return the number of each text, -1 if it has none."""
    encoded = column.combine_chunks().dictionary_encode()
    # The last entry stands for a null, whose index is -1.
    texts = [*encoded.dictionary.to_pylist(), None]
    numbers = np.array([known.get(text, -1) for text in texts], np.intp)
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.asarray(numbers[indices], np.intp)


def _sums(cells: NDArray[np.intp], values: Real | None, shape: tuple[int, int]) -> Real:
    """Return how many rows each cell of a matrix has, or the sum of their values."""
    sums = np.bincount(cells, values, minlength=math.prod(shape))
    return np.asarray(sums.reshape(shape), np.float64)


def _summed(part: pa.Table, metric: str) -> tuple[Real, Real]:
    """Return each answer's value of the metric, and its weight."""
    column = part.column(_SOURCES[metric])
    present = pc.is_valid(column)
    if METRICS[metric].counts_present:
        return _real(present), np.ones(part.num_rows)
    weight = _real(present)
    if metric in _WEIGHTS:
        weight = weight * _real(pc.fill_null(part.column(_WEIGHTS[metric]), 0))
    return np.nan_to_num(_real(column)), weight


def _real(column: pa.ChunkedArray) -> Real:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)


def _answers(
    path: Path,
    part: pa.Table,
    rows: NDArray[np.intp],
    num_trials: int,
    labels: tuple[str, ...],
) -> NDArray[np.int64]:
    """Return the counts (T, L, L + 1) of each trial's gold labels by answer."""
    gold = pc.index_in(part.column("gold_label"), pa.array(labels))
    if gold.null_count:
        others = sorted(set(part.column("gold_label").to_pylist()) - set(labels), key=str)
        raise StoreError(
            f"{path}: gold_label must be one of {', '.join(labels)}, got {others[0]!r}; "
            "copy the whole folder, or run the study again"
        )
    given = pc.index_in(part.column("predicted_label"), pa.array(labels))
    shape = (num_trials, len(labels), len(labels) + 1)
    codes = np.asarray(gold) * shape[2] + np.asarray(pc.fill_null(given, len(labels)))
    codes += rows * shape[1] * shape[2]
    return np.bincount(codes, minlength=math.prod(shape)).reshape(shape)


def _linearised(total_TE: Real, count_TE: Real, present_TE: NDArray[np.bool_]) -> Real:
    """Return values whose mean over a trial's examples is its sum of totals / sum of counts."""
    num_examples_T = present_TE.sum(axis=1, keepdims=True)
    count_T = count_TE.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_T = total_TE.sum(axis=1, keepdims=True) / count_T
        values_TE = ratio_T + (total_TE - ratio_T * count_TE) * (num_examples_T / count_T)
    linearised: Real = np.where(present_TE, values_TE, np.nan)
    return linearised


def _require_all(path: Path, trial_ids: Sequence[str], counts_TE: Real) -> None:
    lacking = [
        trial_id for trial_id, row in zip(trial_ids, counts_TE, strict=True) if not row.any()
    ]
    if lacking:
        raise StoreError(
            f"{path}: must hold the answers of every complete trial, got none of {lacking[0]}"
            f"{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}; copy the whole "
            "folder, or run the study again"
        )
