"""Analyses for some kinds of study: ranges of good values, Pareto fronts and censored trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.comparison import Comparison, Comparisons, improvement
from tune_distill.spec.metrics import METRICS


@dataclass(frozen=True)
class GoodRange:
    """The values about the best one that were compared with it and are not detectably worse.

    `below` and `above` are the nearest settings outside, which are worse or were not compared; None
    if the study went no further.
    """

    column: str
    low: float
    high: float
    best: float
    below: int | None
    above: int | None


@dataclass(frozen=True)
class Censored:
    """A pruned trial's last loss, compared with the best setting's at the same step.

    Its end is not known, only that it was behind when it was stopped. `behind` is positive for the
    worse, None if the best setting made no evaluation at that step with that seed.
    """

    setting: int
    seed: int
    step: int
    eval_loss: float
    behind: float | None


@dataclass(frozen=True)
class Tradeoff:
    """A setting's quality and its cost, and whether no other setting is better in both."""

    setting: int
    cost_s: float
    quality: float
    on_front: bool


SAME_COST = 1.25
"""Costs with a ratio of up to this count as equal: a busy machine causes such noise."""


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """Return for each (cost, gain) whether no different point costs no more and gains no less."""
    points = list(zip(costs, gains, strict=True))
    return [
        not any(
            other_cost <= cost and other_gain >= gain and (other_cost, other_gain) != (cost, gain)
            for other_cost, other_gain in points
        )
        for cost, gain in points
    ]


def tradeoffs(results: StudyResults, found: Comparisons) -> list[Tradeoff]:
    """Return the quality and the cost of every measured setting."""
    metric = results.study.metric.name
    levels, costs, best = found.levels.get(metric, {}), setting_costs(results), found.best
    settings = [setting for setting in costs if setting in levels]
    gains = [improvement(metric, levels[setting].value) for setting in settings]
    front = pareto_front([costs[setting] for setting in settings], gains)
    worse = {one.setting for one in _against_best(results, found) if one.worse}
    for place, setting in enumerate(settings):
        # A saving within the machine's noise does not make up for a detectably worse quality.
        if best is not None and setting in worse and costs[setting] * SAME_COST >= costs[best]:
            front[place] = False
    return [
        Tradeoff(setting, costs[setting], levels[setting].value, on_front)
        for setting, on_front in zip(settings, front, strict=True)
    ]


# Fields whose values do not change the cost, or are not chosen for their cost.
_FREE = frozenset(
    {
        "train.learning_rate",
        "train.label_smoothing",
        "train.weight_decay",
        "train.warmup_fraction",
        "train.max_grad_norm",
        "train.ce_weight",
        "data.num_validation",
    }
)


def costs_vary(results: StudyResults) -> bool:
    """Return whether settings can differ in cost by more than noise; learning rates cannot."""
    return not results.study.varied_fields() <= _FREE


def decodes_only(results: StudyResults) -> bool:
    """Return whether the settings differ in decoding alone, and share their students."""
    return all(path.startswith("decode.") for path in results.study.varied_fields())


def setting_costs(results: StudyResults) -> dict[int, float]:
    """Return each measured setting's seconds per trial: decoding, and training if that varies."""
    complete = results.complete
    cost = complete["decode_time_s"]
    if not decodes_only(results):
        cost = cost + complete["training_time_s"]
    means = cost.groupby(complete["setting"]).mean()
    return dict(zip(means.index.tolist(), means.tolist(), strict=True))


def numeric_column(results: StudyResults) -> str | None:
    """Return the varied column, if there is only one and all of its values are numbers."""
    if len(results.columns) != 1:
        return None
    [column] = results.columns
    values = [setting[column] for setting in results.settings]
    return column if all(isinstance(value, int | float) for value in values) else None


def good_range(results: StudyResults, found: Comparisons) -> GoodRange | None:
    """Return the range as good as the best, if one number varies and three values were tried.

    None if nothing could be compared with the best.
    """
    column = numeric_column(results)
    if column is None or found.best is None or len(results.settings) < 3:
        return None
    values = {index: _number(setting[column]) for index, setting in enumerate(results.settings)}
    ordered = sorted(values, key=lambda index: values[index])
    rivals = _against_best(results, found)
    if not rivals:
        return None
    good = {one.setting for one in rivals if not one.worse}
    first = last = ordered.index(found.best)
    while first > 0 and ordered[first - 1] in good:
        first -= 1
    while last < len(ordered) - 1 and ordered[last + 1] in good:
        last += 1
    return GoodRange(
        column,
        values[ordered[first]],
        values[ordered[last]],
        values[found.best],
        ordered[first - 1] if first > 0 else None,
        ordered[last + 1] if last < len(ordered) - 1 else None,
    )


def censored(results: StudyResults, found: Comparisons) -> list[Censored]:
    """Return every pruned trial, compared with the best setting at the same step."""
    if not (results.trials["state"] == "pruned").any():
        return []
    history = results.history[results.history["eval_loss"].notna()]
    reference = _losses_by_step(history, found.best)
    last = history.sort_values("step").drop_duplicates("trial_id", keep="last")
    entries = []
    for row in last[last["state"] == "pruned"].sort_values(["setting", "seed"]).to_dict("records"):
        best = reference.get((row["seed"], row["step"]))
        behind = None if best is None else row["eval_loss"] - best
        entries.append(Censored(row["setting"], row["seed"], row["step"], row["eval_loss"], behind))
    return entries


def equally_good(results: StudyResults, found: Comparisons) -> list[int]:
    """Return the best setting and those not detectably worse, sorted by their means."""
    if found.best is None:
        return []
    rivals = [one.setting for one in _against_best(results, found) if not one.worse]
    levels = found.levels.get(results.study.metric.name, {})
    sign = -1.0 if not METRICS[results.study.metric.name].lower_is_better else 1.0
    return [found.best, *sorted(rivals, key=lambda setting: sign * levels[setting].value)]


def _against_best(results: StudyResults, found: Comparisons) -> list[Comparison]:
    """Return the comparisons with the best setting, which may be the baseline."""
    if found.best == results.baseline:
        return found.of(results.study.metric.name)
    return found.with_best


def _losses_by_step(history: pd.DataFrame, setting: int | None) -> Mapping[tuple[int, int], float]:
    rows = history[history["setting"] == setting]
    return {
        (int(seed), int(step)): float(loss)
        for seed, step, loss in zip(rows["seed"], rows["step"], rows["eval_loss"], strict=True)
    }


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
