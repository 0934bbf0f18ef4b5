"""The figure over all studies: which parameter moves the student most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tune_distill.analysis.results import short_name
from tune_distill.reports.drawing.palette import BETTER, OPEN, WORSE
from tune_distill.reports.drawing.panels import Axis, Figure, Panel, Rule, Series, without_controls
from tune_distill.reports.figures.pieces import dotted, unit_text
from tune_distill.spec.metrics import METRICS

EFFECT_METRIC = "label_accuracy"
"""The metric in which all studies are compared, whatever their own metric is."""


def effects(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a study's comparisons with its baseline in the metric that all studies share."""
    return [
        one
        for one in summary["comparisons"]
        if one["metric"] == EFFECT_METRIC and one["family"] != "best"
    ]


def largest_effect(summary: Mapping[str, Any]) -> float:
    """Return the largest detectable difference from the study's baseline; 0 if there is none."""
    return max((abs(one["difference"]) for one in effects(summary) if one["detectable"]), default=0)


def effects_figure(summaries: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Return the figure of all settings' differences from their study's baseline.

    The study with the largest detectable difference is first.
    """
    shown = sorted((s for s in summaries if effects(s)), key=largest_effect, reverse=True)
    if not shown:
        return None
    rows = [
        (f"{summary['study']} {short_name(one['setting'])}", one)
        for summary in shown
        for one in effects(summary)
    ]
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {BETTER: [], WORSE: [], OPEN: []}
    for row in rows:
        better = (row[1]["difference"] > 0) != METRICS[EFFECT_METRIC].lower_is_better
        groups[(BETTER if better else WORSE) if row[1]["detectable"] else OPEN].append(row)
    series = [
        part for name, some in groups.items() if some for part in dotted(_effects(name, some))
    ]
    sizes = ", ".join(f"{s['study']} {s['num_seeds']} x {s['num_examples']:,}" for s in shown)
    label = f"difference in {METRICS[EFFECT_METRIC].label}{unit_text(EFFECT_METRIC)}"
    panel = Panel(
        "Each setting against its study's baseline",
        Axis(label),
        Axis("", "category", tuple(name for name, _ in rows)),
        tuple(series),
        (Rule("x", 0.0, "no difference"),),
    )
    caption = (
        "Paired differences with their 95 % intervals, detectable after Holm's correction. "
        f"n = seeds x examples: {sizes}."
    )
    figure = Figure("effects", "Differences from the baselines", caption, (panel,))
    return without_controls(figure)


def _effects(name: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Series:
    return Series(
        name,
        "intervals",
        tuple(one["difference"] for _, one in rows),
        tuple(row for row, _ in rows),
        tuple(one["ci_low"] for _, one in rows),
        tuple(one["ci_high"] for _, one in rows),
        along="x",
        texts=tuple(
            f"{row}: {one['difference']:+.3f} [{one['ci_low']:+.3f}, {one['ci_high']:+.3f}]"
            for row, one in rows
        ),
    )
