"""The figures of a study as numbers; they depend on what the study varies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tune_distill.analysis.results import in_words, short_name
from tune_distill.analysis.scores import UNPARSED
from tune_distill.analysis.statistics.comparison import Comparison
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import difference_text
from tune_distill.reports.drawing.palette import BETTER, MEAN, OPEN, WORSE
from tune_distill.reports.drawing.panels import (
    Axis,
    Figure,
    Grid,
    Panel,
    Rule,
    Series,
    without_controls,
)
from tune_distill.reports.figures.curves import curves_figure
from tune_distill.reports.figures.pieces import (
    beside_means,
    column_label,
    dotted,
    in_rows,
    level_intervals,
    metric_axis,
    number,
    number_scale,
    seed_points,
    setting_axis,
    setting_positions,
    size_caption,
    unit_text,
)
from tune_distill.reports.figures.shapes import (
    scaling_figure,
    sensitivity_figure,
    tradeoff_figure,
    truncation_figure,
)
from tune_distill.spec.domains import Scalar
from tune_distill.spec.metrics import METRICS

_APART = 0.06
"""The least distance between two texts on a parallel axis, as a fraction of the axis."""

_SHOWN = tuple(metric.name for metric in METRICS.values() if metric.is_charted)


def study_figures(verdict: Verdict) -> list[Figure]:
    """Return every figure that this study has numbers for, the most informative first."""
    made = [curves_figure(verdict)]
    if len(verdict.results.complete):
        alone = scaling_figure(verdict) or sensitivity_figure(verdict)
        made = [
            differences_figure(verdict),
            alone,
            metrics_figure(verdict, without=verdict.metric if alone else None),
            tradeoff_figure(verdict),
            truncation_figure(verdict),
            parallel_figure(verdict),
            *made,
            confusion_figure(verdict),
        ]
    return [without_controls(figure) for figure in made if figure is not None]


def metrics_figure(verdict: Verdict, without: str | None = None) -> Figure | None:
    """Return the figure of each metric's mean and interval at every setting, and the seeds' points.

    `without` is the metric that another figure shows over the same axis.
    """
    results, found = verdict.results, verdict.found
    positions = setting_positions(verdict)
    seeds = results.complete
    panels = []
    for metric in _SHOWN:
        levels = found.levels.get(metric, {})
        if not levels or metric == without:
            continue
        measured = [
            (setting, levels[setting]) for setting in results.measured() if setting in levels
        ]
        points = seeds[["setting", "seed", metric]].itertuples(index=False)
        series = (
            *dotted(level_intervals(verdict, MEAN, measured)),
            *beside_means(
                verdict, seed_points([(positions[s], v, f"seed {seed}") for s, seed, v in points])
            ),
        )
        panel = Panel(METRICS[metric].label, setting_axis(verdict), metric_axis(metric), series)
        panels.append(in_rows(panel))
    if not panels:
        return None
    title = f"{results.name}: {'the other metrics' if without else 'every metric'}"
    return Figure("metrics", title, size_caption(verdict), tuple(panels))


def differences_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of the differences that the verdict rests on, with their intervals."""
    if not verdict.primary:
        return None
    results, metric = verdict.results, verdict.metric
    names = tuple(short_name(results.settings[one.setting]) for one in verdict.primary)
    groups = {
        BETTER: [one for one in verdict.primary if one.better],
        WORSE: [one for one in verdict.primary if one.worse],
        OPEN: [one for one in verdict.primary if not one.detectable],
    }
    series = tuple(
        part
        for name, members in groups.items()
        if members
        for part in dotted(_differences(verdict, name, members))
    )
    assert results.baseline is not None
    baseline = results.text(results.baseline)
    label = f"difference in {METRICS[metric].label}{unit_text(metric)}"
    panel = Panel(
        f"Against {baseline}",
        Axis(label),
        Axis(column_label(verdict), "category", names),
        series,
        (Rule("x", 0.0, "no difference"),),
    )
    caption = (
        f"Paired differences with their 95 % intervals, detectable after Holm's correction. "
        f"{size_caption(verdict)}"
    )
    return Figure("differences", f"{results.name}: differences", caption, (panel,))


def parallel_figure(verdict: Verdict) -> Figure | None:
    """Return a figure with a line per setting through its parameters and its metric.

    There is none if fewer than two parameters vary.
    """
    results, metric = verdict.results, verdict.metric
    levels = verdict.found.levels.get(metric, {})
    if len(results.columns) < 2 or len(levels) < 2:
        return None
    name = METRICS[metric].label
    axes = (*(in_words(column) for column in results.columns), name)
    values = [level.value for level in levels.values()]
    low, high = min(values), max(values)
    heights = [_heights(verdict, column) for column in results.columns]
    named = [{setting_text(value): place for value, place in one.items()} for one in heights]
    named.append({f"{low:.3f}": 0.0, f"{high:.3f}": 1.0} if high > low else {})
    series = []
    for setting, level in levels.items():
        point = results.settings[setting]
        share = (level.value - low) / (high - low) if high > low else 0.5
        parts = (one[point[column]] for one, column in zip(heights, results.columns, strict=True))
        text = f"{results.text(setting)}: {level.value:.3f}"
        texts = (text,) * len(axes)
        series.append(Series("", "line", axes, (*parts, share), texts=texts, shade=share))
    series += [_ticks(axis, one) for axis, one in zip(axes, named, strict=True)]
    panel = Panel(
        "",
        Axis("", "category", axes),
        Axis("from lowest to highest of each", limits=(-0.05, 1.05), bare=True),
        tuple(series),
        tuple(Rule("x", axis) for axis in axes),
    )
    return Figure(
        "parallel_coordinates",
        f"{results.name}: settings and {name}",
        f"A line is a setting, shaded by its {name}. {size_caption(verdict)}",
        (panel,),
        (f"{low:.3f}", f"{high:.3f}"),
    )


def confusion_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of the best setting's answers for each gold label, over all seeds."""
    results = verdict.results
    if verdict.best is None or not results.task.labels:
        return None
    labels = results.scores.labels
    answers = (*labels, UNPARSED)
    rows = list(results.trials_of(verdict.best).values())
    counts = results.scores.answers[rows].sum(axis=0)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / totals.clip(min=1)
    # Leave out the column of unparsed answers if it has only zeros.
    columns = [i for i in range(len(answers)) if i < len(labels) or counts[:, i].any()]
    grid = Grid(
        results.text(verdict.best),
        Axis("answer", "category", tuple(answers[i] for i in columns)),
        Axis("gold label", "category", labels),
        tuple(tuple(float(shares[row, i]) for i in columns) for row in range(len(labels))),
        tuple(
            tuple(f"{counts[row, i]:,}\n{shares[row, i]:.0%}" for i in columns)
            for row in range(len(labels))
        ),
    )
    return Figure(
        "confusion",
        f"{results.name}: answers of the best setting",
        f"Counts of answers and shares of each gold label. {size_caption(verdict)}",
        (grid,),
    )


def _differences(verdict: Verdict, name: str, members: Sequence[Comparison]) -> Series:
    results = verdict.results
    return Series(
        name,
        "intervals",
        tuple(one.estimate.value for one in members),
        tuple(short_name(results.settings[one.setting]) for one in members),
        tuple(one.estimate.low for one in members),
        tuple(one.estimate.high for one in members),
        along="x",
        texts=tuple(f"{results.text(one.setting)}: {difference_text(one)}" for one in members),
    )


def _ticks(axis: str, heights: Mapping[str, float]) -> Series:
    """Return the values of one parallel axis: both ends, and others if they have room."""
    named: dict[str, float] = {}
    last = -1.0
    for text, height in sorted(heights.items(), key=lambda pair: pair[1]):
        if height in (0.0, 1.0) or last + _APART <= height <= 1.0 - _APART:
            named[text] = last = height
    return Series(
        "",
        "points",
        (axis,) * len(named),
        tuple(named.values()),
        texts=tuple(named),
        annotated=True,
        faint=True,
    )


def _heights(verdict: Verdict, column: str) -> dict[Scalar, float]:
    """Return the position of each value on its parallel axis: numbers by value, others evenly."""
    values = list(dict.fromkeys(point[column] for point in verdict.results.settings))
    numeric = all(isinstance(value, int | float) for value in values)
    if not numeric or len(values) < 2:
        return {value: rank / max(1, len(values) - 1) for rank, value in enumerate(values)}
    scaled = math.log if number_scale(verdict, column) == "log" else float
    places = [scaled(number(value)) for value in values]
    low, high = min(places), max(places)
    return {
        value: (place - low) / (high - low) for value, place in zip(values, places, strict=True)
    }
