"""Figures for the question of a study: scaling, sensitivity, trade-offs or truncation."""

from __future__ import annotations

from dataclasses import replace

from tune_distill.analysis.remarks import law_text
from tune_distill.analysis.results import setting_phrase, short_name
from tune_distill.analysis.statistics.shapes import numeric_column
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import counted
from tune_distill.reports.drawing.palette import BEATEN, FRONT, LAW, MEAN, PRUNED
from tune_distill.reports.drawing.panels import Axis, Figure, Marker, Panel, Rule, Series
from tune_distill.reports.figures.pieces import (
    beside_means,
    column_label,
    dotted,
    intervals_at,
    level_intervals,
    level_text,
    metric_axis,
    number,
    seed_points,
    seed_texts,
    setting_axis,
    size_caption,
    spans_decades,
)
from tune_distill.spec.metrics import METRICS

_NAMED = 20
"""The most points of a figure that can all have a name beside them."""


def scaling_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of the metric and the training time over data size, with the fitted law."""
    law, results = verdict.scaling, verdict.results
    if law is None:
        return None
    complete = results.complete
    sizes = complete.groupby("setting")["num_train"].mean()
    levels = verdict.found.levels[verdict.metric]
    x, y, low, high = (tuple(column) for column in zip(*law.curve, strict=True))
    means = intervals_at(
        MEAN,
        [
            (float(sizes[setting]), level, level_text(f"{sizes[setting]:,.0f} examples", level))
            for setting, level in levels.items()
        ],
    )
    seeds = seed_points(
        zip(complete["num_train"], complete[verdict.metric], seed_texts(complete), strict=True)
    )
    axis = Axis("training examples", "log")
    quality = Panel(
        METRICS[verdict.metric].label,
        axis,
        metric_axis(verdict.metric),
        (
            Series(LAW, "band", x, y, low, high),
            Series(LAW, "line", x, y),
            *dotted(means),
            *beside_means(verdict, seeds),
        ),
        (Rule("x", float(max(sizes)), "largest measured"),),
    )
    time = Panel(
        "Training time",
        axis,
        Axis("seconds"),
        (
            seed_points(
                zip(
                    complete["num_train"],
                    complete["training_time_s"],
                    seed_texts(complete),
                    strict=True,
                )
            ),
        ),
    )
    caption = f"{law_text(verdict)} Twice the data: {law.conclusion}. {size_caption(verdict)}"
    return Figure("data_scaling", f"{results.name}: data scaling", caption, (quality, time))


def sensitivity_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of the metric over the only varied number, with pruned trials.

    Pruned trials are at their last loss.
    """
    results, metric = verdict.results, verdict.metric
    column, levels = numeric_column(results), verdict.found.levels.get(metric, {})
    if column is None or verdict.scaling is not None or not levels or len(results.settings) < 3:
        return None
    settings = sorted(levels, key=lambda setting: number(results.settings[setting][column]))
    x = tuple(number(results.settings[setting][column]) for setting in settings)
    complete = results.complete
    points = zip(
        (number(value) for value in complete[column]),
        complete[metric],
        seed_texts(complete),
        strict=True,
    )
    series = [
        Series(MEAN, "line", x, tuple(levels[s].value for s in settings)),
        *dotted(level_intervals(verdict, MEAN, [(s, levels[s]) for s in settings])),
        *beside_means(verdict, seed_points(points)),
    ]
    pruned = verdict.censored if metric == "eval_loss" else []
    if pruned:
        series.append(
            Series(
                PRUNED,
                "points",
                tuple(number(results.settings[one.setting][column]) for one in pruned),
                tuple(one.eval_loss for one in pruned),
                texts=tuple(
                    f"{results.text(one.setting)}, seed {one.seed}, pruned at step {one.step}"
                    for one in pruned
                ),
                marker="open triangle",
            )
        )
    span = verdict.good_range
    rules = []
    if span is not None and span.low < span.high:
        rules = [Rule("x", span.low, end=span.high)]
    values = [number(value) for one in series for value in one.y]
    y = metric_axis(metric, "log" if metric == "eval_loss" and spans_decades(values) else "linear")
    caption = size_caption(verdict)
    if rules:
        caption = f"Shaded: nothing measured there is detectably worse than the best. {caption}"
    if pruned:
        caption = f"{caption} {counted(len(pruned), 'pruned trial')}."
    return Figure(
        "sensitivity",
        f"{results.name}: sensitivity",
        caption,
        (Panel(METRICS[metric].label, setting_axis(verdict), y, tuple(series), tuple(rules)),),
    )


def tradeoff_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of quality against cost, with the Pareto front marked."""
    metric, results = verdict.metric, verdict.results
    points = sorted(verdict.tradeoffs, key=lambda one: one.cost_s)
    if len(points) < 2 or not verdict.has_tradeoff:
        return None
    levels = verdict.found.levels[metric]

    def marked(name: str, marker: Marker, on_front: bool) -> tuple[Series, Series]:
        chosen = [one for one in points if one.on_front == on_front]
        intervals = intervals_at(
            name,
            [
                (one.cost_s, levels[one.setting], short_name(results.settings[one.setting]))
                for one in chosen
            ],
        )
        # More names would be illegible, and readers look for those of the front.
        annotated = on_front or len(points) <= _NAMED
        return dotted(replace(intervals, annotated=annotated, marker=marker))

    front = [one for one in points if one.on_front]
    line = Series(
        FRONT,
        "line",
        tuple(one.cost_s for one in front),
        tuple(one.quality for one in front),
    )
    series = [line, *marked(FRONT, "diamond", True)]
    if len(front) < len(points):
        series += marked(BEATEN, "open", False)
    what = "decoding" if verdict.decodes_only else "training and decoding"
    panel = Panel(
        f"{METRICS[metric].label} against cost",
        Axis(f"seconds of {what} a trial"),
        metric_axis(metric),
        tuple(series),
    )
    caption = f"Points are named by {column_label(verdict)}. {size_caption(verdict)}"
    return Figure("pareto", f"{results.name}: quality against cost", caption, (panel,))


def truncation_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of quality against the fraction of texts that the maximum lengths cut."""
    metric, results = verdict.metric, verdict.results
    levels, complete = verdict.found.levels.get(metric, {}), verdict.results.complete
    panels = []
    for side in ("source", "target"):
        column = f"{side}_truncated_fraction"
        if f"max_{side}_length" not in results.columns:
            continue
        cut = complete.groupby("setting")[column].mean()
        others = [name for name in results.columns if name != f"max_{side}_length"]
        groups: dict[str, list[int]] = {}
        for setting in sorted(levels, key=lambda setting: cut[setting]):
            point = {name: results.settings[setting][name] for name in others}
            groups.setdefault(setting_phrase(point), []).append(setting)
        series = [
            part
            for name, settings in groups.items()
            for part in dotted(
                intervals_at(
                    name or MEAN,
                    [(float(cut[one]), levels[one], results.text(one)) for one in settings],
                )
            )
        ]
        panels.append(
            Panel(
                f"{side.capitalize()}s cut",
                Axis(f"share of training {side}s cut"),
                metric_axis(metric),
                tuple(series),
            )
        )
    if not panels or len(levels) < 2:
        return None
    return Figure(
        "truncation", f"{results.name}: what cutting costs", size_caption(verdict), tuple(panels)
    )
