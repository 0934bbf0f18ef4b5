"""Axes and series that several figures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from tune_distill.analysis.results import in_words, short_name
from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.statistics.shapes import numeric_column
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import size_text
from tune_distill.reports.drawing.palette import SEED
from tune_distill.reports.drawing.panels import Axis, Panel, Series, Value
from tune_distill.spec.domains import LogUniform
from tune_distill.spec.metrics import METRICS

_UNITS = {
    "train_fraction": "share of the pool",
    "num_train": "examples",
    "max_source_length": "tokens",
    "max_target_length": "tokens",
}


def setting_positions(verdict: Verdict) -> dict[int, Value]:
    """Return the position of each setting on the setting axis."""
    results, column = verdict.results, numeric_column(verdict.results)
    if column is None:
        return {index: short_name(point) for index, point in enumerate(results.settings)}
    return {index: number(point[column]) for index, point in enumerate(results.settings)}


def setting_axis(verdict: Verdict) -> Axis:
    results = verdict.results
    label = column_label(verdict)
    column = numeric_column(results)
    if column is None:
        names = tuple(short_name(results.settings[setting]) for setting in results.measured())
        return Axis(label, "category", names)
    return Axis(label, number_scale(verdict, column))


def number_scale(verdict: Verdict, column: str) -> Literal["linear", "log"]:
    """Return the scale of a varied number: log if it was searched so or max/min exceeds 50."""
    results = verdict.results
    domains = {name: results.study.vary[field] for field, name in results.study.columns.items()}
    values = [number(point[column]) for point in results.settings]
    wide = min(values) > 0 and max(values) / min(values) > 50
    return "log" if isinstance(domains[column], LogUniform) or wide else "linear"


def column_label(verdict: Verdict) -> str:
    """Return the varied columns, in the order of the values in a short name."""
    columns = verdict.results.columns
    unit = _UNITS.get(columns[0]) if len(columns) == 1 else None
    names = ", ".join(in_words(column) for column in columns)
    return f"{names} ({unit})" if unit else names


def metric_axis(metric: str, scale: str = "linear") -> Axis:
    """Return an axis with the metric's unit; the panel's title names the metric."""
    return Axis(METRICS[metric].unit, "log" if scale == "log" else "linear")


def unit_text(metric: str) -> str:
    return f" ({METRICS[metric].unit})"


def level_intervals(verdict: Verdict, name: str, levels: Sequence[tuple[int, Estimate]]) -> Series:
    """Return the settings' means and intervals along the setting axis."""
    positions, results = setting_positions(verdict), verdict.results
    return intervals_at(
        name,
        [
            (positions[setting], level, level_text(results.text(setting), level))
            for setting, level in levels
        ],
    )


def intervals_at(name: str, points: Sequence[tuple[Value, Estimate, str]]) -> Series:
    """Return means and intervals at these positions, each with its text."""
    return Series(
        name,
        "intervals",
        tuple(x for x, _, _ in points),
        tuple(level.value for _, level, _ in points),
        tuple(level.low for _, level, _ in points),
        tuple(level.high for _, level, _ in points),
        texts=tuple(text for _, _, text in points),
    )


def in_rows(panel: Panel) -> Panel:
    """Return the panel turned if it has names below it, because names beside it are legible."""
    if panel.x.scale != "category":
        return panel
    turned = tuple(
        replace(one, x=one.y, y=one.x, along="x" if one.along == "y" else "y")
        for one in panel.series
    )
    return replace(panel, x=panel.y, y=panel.x, series=turned)


def dotted(intervals: Series) -> tuple[Series, Series]:
    """Return the intervals, and a point at the middle of each, which has the text."""
    points = replace(intervals, kind="points", low=(), high=())
    return replace(intervals, texts=(), annotated=False), points


def level_text(name: str, level: Estimate) -> str:
    return f"{name}: {level.value:.3f} [{level.low:.3f}, {level.high:.3f}]"


def seed_points(points: Iterable[tuple[Value, float, str]]) -> Series:
    """Return a point per trial that has the number; grounding without words has none."""
    listed = [point for point in points if not np.isnan(point[1])]
    return Series(
        SEED,
        "points",
        tuple(x for x, _, _ in listed),
        tuple(float(y) for _, y, _ in listed),
        texts=tuple(text for _, _, text in listed),
        marker="open",
        offset=0.15,
        faint=True,
    )


def beside_means(verdict: Verdict, seeds: Series) -> tuple[Series, ...]:
    """Return the seeds' points if there are several seeds; otherwise they equal the means."""
    return (seeds,) if verdict.num_seeds > 1 else ()


def seed_texts(complete: pd.DataFrame) -> list[str]:
    return [f"seed {seed}" for seed in complete["seed"]]


def spans_decades(values: Iterable[float]) -> bool:
    """Return whether values need a log axis: all positive, and the ratio of extremes over 4."""
    listed = [float(value) for value in values]
    return min(listed) > 0 and max(listed) > 4 * min(listed)


def number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def size_caption(verdict: Verdict) -> str:
    results = verdict.results
    baseline = "" if results.baseline is None else f"; baseline {results.text(results.baseline)}"
    return f"n = {size_text(verdict)}{baseline}."


def trials_caption(verdict: Verdict) -> str:
    counts = verdict.results.trials["state"].value_counts()
    return f"n = {', '.join(f'{count} {state}' for state, count in counts.items())} trials."
