"""The figure of losses over training steps."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tune_distill.analysis.results import short_name
from tune_distill.analysis.verdict import Verdict
from tune_distill.reports.drawing.panels import Axis, Figure, Panel, Series
from tune_distill.reports.figures.pieces import spans_decades, trials_caption, unit_text

# More settings than this are distinguished by shade, and have no lines of single seeds.
_NAMED = 8


def curves_figure(verdict: Verdict) -> Figure | None:
    """Return the figure of losses over training steps, one line per setting."""
    results = verdict.results
    history = results.history
    # Leave out failed trials, because a diverged loss would hide the other curves.
    ended = history[history["state"] != "failed"]
    panels = []
    for column, title in (
        ("unsmoothed_train_loss", "Training loss, without smoothing"),
        ("eval_loss", "Evaluation loss"),
    ):
        rows = ended[ended[column].notna()] if column in ended else ended.iloc[:0]
        if len(rows):
            axis = Axis(
                f"loss{unit_text('eval_loss')}", "log" if spans_decades(rows[column]) else "linear"
            )
            panels.append(
                Panel(title, Axis("optimizer step"), axis, tuple(_curves(verdict, rows, column)))
            )
    if not panels:
        return None
    shades = _shade_ends(verdict) if _shaded(verdict) else None
    dashed = "; dashed: pruned before the end" if (history["state"] == "pruned").any() else ""
    lines = "A line a trial"
    if verdict.num_seeds > 1:
        lines = "Means over the seeds" + ("" if shades else ", thin lines single seeds")
    return Figure(
        "learning_curves",
        f"{results.name}: learning curves",
        f"{lines}{dashed}. {trials_caption(verdict)}",
        tuple(panels),
        shades,
    )


def _curves(verdict: Verdict, rows: pd.DataFrame, column: str) -> Iterable[Series]:
    """Yield the lines of each setting's mean, of its single seeds and of its pruned trials."""
    results, shaded = verdict.results, _shaded(verdict)
    if verdict.decodes_only:
        # The settings share their students, so one line represents all.
        rows = rows.drop_duplicates(["seed", "step"]).assign(setting=0)
    order = {setting: rank for rank, setting in enumerate(sorted(set(rows["setting"])))}
    for setting, part in rows.groupby("setting"):
        name = "all settings" if verdict.decodes_only else results.text(int(str(setting)))
        name = "" if shaded else name
        shade = order[setting] / max(1, len(order) - 1) if shaded else None
        complete = part[part["state"] == "complete"]
        if complete["seed"].nunique() > 1 and not shaded:
            for _, one in complete.groupby("seed"):
                yield _line(name, one, column, shade, faint=True)
        for _, pruned in part[part["state"] == "pruned"].groupby("seed"):
            yield _line(name, pruned, column, shade, dashed=True)
        if len(complete):
            means = complete.groupby("step", as_index=False).agg({column: "mean"})
            yield _line(name, means, column, shade)


def _line(
    name: str,
    rows: pd.DataFrame,
    column: str,
    shade: float | None,
    *,
    dashed: bool = False,
    faint: bool = False,
) -> Series:
    return Series(
        name,
        "line",
        tuple(float(step) for step in rows["step"]),
        tuple(float(value) for value in rows[column]),
        dashed=dashed,
        faint=faint,
        shade=shade,
    )


def _shaded(verdict: Verdict) -> bool:
    return len(verdict.results.settings) > _NAMED and not verdict.decodes_only


def _shade_ends(verdict: Verdict) -> tuple[str, str]:
    results = verdict.results
    return short_name(results.settings[0]), short_name(results.settings[-1])
