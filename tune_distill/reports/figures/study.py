"""The figures of a study, as numbers: which there are depends on what it varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tune_distill.analysis.results import SettingValues, short_name, words
from tune_distill.analysis.scores import UNPARSED
from tune_distill.analysis.statistics.comparison import Comparison
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import difference_text
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
    level_intervals,
    metric_axis,
    number,
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

_TICKS = 9
"""Of one of the parallel axes, that can be told apart."""

_SHOWN = tuple(metric.name for metric in METRICS.values() if metric.is_charted)


def study_figures(verdict: Verdict) -> list[Figure]:
    """Every figure that this study has numbers for, the most telling first."""
    makers: list[Callable[[Verdict], Figure | None]] = [
        metrics_figure,
        differences_figure,
        scaling_figure,
        sensitivity_figure,
        tradeoff_figure,
        truncation_figure,
        parallel_figure,
        curves_figure,
        confusion_figure,
    ]
    if not len(verdict.results.complete):
        makers = [curves_figure]
    made = (maker(verdict) for maker in makers)
    return [without_controls(figure) for figure in made if figure is not None]


def metrics_figure(verdict: Verdict) -> Figure | None:
    """Each metric's mean and interval at every setting, and every seed's point."""
    results, found = verdict.results, verdict.found
    positions = setting_positions(verdict)
    seeds = results.complete
    panels = []
    for metric in _SHOWN:
        levels = found.levels.get(metric, {})
        if not levels:
            continue
        measured = [
            (setting, levels[setting]) for setting in results.measured() if setting in levels
        ]
        points = seeds[["setting", "seed", metric]].itertuples(index=False)
        panels.append(
            Panel(
                METRICS[metric].label,
                setting_axis(verdict),
                metric_axis(metric),
                (
                    *dotted(level_intervals(verdict, "mean, 95 % interval", measured)),
                    *beside_means(
                        verdict,
                        seed_points([(positions[s], v, f"seed {seed}") for s, seed, v in points]),
                    ),
                ),
            )
        )
    if not panels:
        return None
    return Figure("metrics", f"{results.name}: every metric", size_caption(verdict), tuple(panels))


def differences_figure(verdict: Verdict) -> Figure | None:
    """The differences that the verdict rests on, each with its interval."""
    if not verdict.primary:
        return None
    results, metric = verdict.results, verdict.metric
    names = tuple(short_name(results.settings[one.setting]) for one in verdict.primary)
    groups = {
        "detectably better": [one for one in verdict.primary if one.better],
        "detectably worse": [one for one in verdict.primary if one.worse],
        "not detectable": [one for one in verdict.primary if not one.detectable],
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
    """A line a setting through its parameters and its metric, where several vary."""
    results, metric = verdict.results, verdict.metric
    levels = verdict.found.levels.get(metric, {})
    if len(results.columns) < 2 or len(levels) < 2:
        return None
    name = METRICS[metric].label
    axes = tuple(words(column) for column in results.columns)
    heights = {column: _heights(results.settings, column) for column in results.columns}
    values = [level.value for level in levels.values()]
    low, high = min(values), max(values)
    series = []
    for setting, level in levels.items():
        point = results.settings[setting]
        share = (level.value - low) / (high - low) if high > low else 0.5
        text = f"{results.text(setting)}: {level.value:.3f}"
        series.append(
            Series(
                "",
                "line",
                (*axes, name),
                (*(heights[column][point[column]] for column in results.columns), share),
                texts=(text,) * (len(axes) + 1),
                shade=share,
            )
        )
    series += [
        _ticks(axis, _named(heights[column]))
        for axis, column in zip(axes, results.columns, strict=True)
    ]
    series.append(_ticks(name, {f"{low:.3f}": 0.0, f"{high:.3f}": 1.0} if high > low else {}))
    panel = Panel(
        "",
        Axis("", "category", (*axes, name)),
        Axis("from lowest to highest of each", limits=(0.0, 1.0)),
        tuple(series),
    )
    return Figure(
        "parallel_coordinates",
        f"{results.name}: settings and {name}",
        f"A line is a setting, shaded by its {name}. {size_caption(verdict)}",
        (panel,),
        (f"{low:.3f}", f"{high:.3f}"),
    )


def confusion_figure(verdict: Verdict) -> Figure | None:
    """What the best setting answers for each gold label, over all seeds."""
    results = verdict.results
    if verdict.best is None or not results.task.labels:
        return None
    labels = results.scores.labels
    answers = (*labels, UNPARSED)
    rows = list(results.trials_of(verdict.best).values())
    counts = results.scores.answers[rows].sum(axis=0)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / totals.clip(min=1)
    # A column of zeros says nothing.
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


def _ticks(axis: str, heights: dict[str, float]) -> Series:
    """The values of one of the parallel axes, named at their heights."""
    return Series(
        "",
        "points",
        (axis,) * len(heights),
        tuple(heights.values()),
        texts=tuple(heights),
        annotated=True,
        marker="open",
        faint=True,
    )


def _named(heights: Mapping[Scalar, float]) -> dict[str, float]:
    """Values that there is room to name beside their axis, the ends among them."""
    values = sorted(heights, key=lambda value: heights[value])
    places = np.linspace(0, len(values) - 1, min(len(values), _TICKS)).round().astype(int)
    return {setting_text(values[place]): heights[values[place]] for place in places}


def _heights(settings: Sequence[SettingValues], column: str) -> dict[Scalar, float]:
    """Where each value of a parameter stands on its axis: evenly, numbers in their order."""
    values = list(dict.fromkeys(point[column] for point in settings))
    if all(isinstance(value, int | float) for value in values):
        values.sort(key=number)
    last = max(1, len(values) - 1)
    return {value: rank / last for rank, value in enumerate(values)}
