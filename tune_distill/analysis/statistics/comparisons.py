"""Compares each setting of a study with its baseline and with its best setting.

There are three families of comparisons, each with Holm's correction. The first asks which settings
differ from the baseline. The second asks which settings are as good as the best one. The best one
is chosen by the same numbers, but as all others are compared with it, the truly best setting stays
among the equally good ones (Hsu 1996, multiple comparisons with the best). The third family has all
comparisons with the baseline in the other metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.comparison import (
    Comparison,
    Comparisons,
    Family,
    corrected,
)
from tune_distill.analysis.statistics.estimates import (
    DIFFERENCE_OF_SHARES,
    SHARE,
    UNBOUNDED,
    Estimate,
    estimate,
)
from tune_distill.analysis.statistics.pairs import Shared, same_runs, shared
from tune_distill.analysis.statistics.significance import mcnemar
from tune_distill.analysis.statistics.study_noise import StudyNoise
from tune_distill.spec.metrics import METRICS


def compare(results: StudyResults) -> Comparisons:
    """Return all comparisons of a study, with Holm's correction."""
    measured, metrics = results.measured(), list(results.scores.values)
    if not measured:
        return Comparisons({}, None, [], [], {})
    assert results.baseline is not None
    noise = StudyNoise(results)
    differences = _against(results, noise, results.baseline, metrics)
    best = _best(results, differences)
    rivals = [] if best == results.baseline else _against(results, noise, best, [_judged(results)])
    adjusted = corrected([*differences, *rivals])
    return Comparisons(
        _levels(results, noise, metrics),
        best,
        [one for one in adjusted if one.family != "best"],
        [one for one in adjusted if one.family == "best"],
        _not_compared(results, differences),
    )


def _judged(results: StudyResults) -> str:
    return results.study.metric.name


def _levels(
    results: StudyResults, noise: StudyNoise, metrics: Iterable[str]
) -> dict[str, dict[int, Estimate]]:
    """Return each setting's means; a metric that no setting has is left out."""
    levels: dict[str, dict[int, Estimate]] = {}
    for metric in metrics:
        bounds = SHARE if METRICS[metric].is_share else UNBOUNDED
        for setting in results.measured():
            if own := shared(results, metric, setting):
                level = estimate(own.values_RE, noise.of(metric, setting), bounds)
                levels.setdefault(metric, {})[setting] = level
    return levels


def _against(
    results: StudyResults, noise: StudyNoise, reference: int, metrics: Sequence[str]
) -> list[Comparison]:
    """Return each other setting's comparisons with the reference."""
    found = [
        _comparison(results, noise, metric, setting, reference)
        for setting in results.measured()
        if setting != reference
        for metric in metrics
    ]
    return [one for one in found if one is not None]


def _comparison(
    results: StudyResults, noise: StudyNoise, metric: str, setting: int, reference: int
) -> Comparison | None:
    """Return the comparison of two settings, None if they share nothing or cannot differ."""
    if metric == "eval_loss" and same_runs(results, setting, reference):
        return None
    both = shared(results, metric, setting, reference)
    if both is None:
        return None
    seeds = noise.of_difference(metric, setting, reference)
    bounds = DIFFERENCE_OF_SHARES if METRICS[metric].is_share else UNBOUNDED
    difference = estimate(both.values_RE, seeds, bounds)
    exact = _exact(results, both) if metric == "label_accuracy" else ()
    # McNemar's test ignores seed noise, so it is used only if no seed noise was measured.
    only_exact = len(exact) == 1 and difference.parts.seed is None
    return Comparison(
        setting=setting,
        reference=reference,
        metric=metric,
        family=_family(results, metric, reference),
        estimate=difference,
        test="exact McNemar" if only_exact else "paired t",
        p_value=exact[0] if only_exact else difference.p_value,
        mcnemar=exact,
    )


def _family(results: StudyResults, metric: str, reference: int) -> Family:
    if metric != _judged(results):
        return "other metrics"
    return "baseline" if reference == results.baseline else "best"


def _exact(results: StudyResults, both: Shared) -> tuple[float, ...]:
    """Return McNemar's p-value of each seed; empty if a trial gave several answers per example."""
    if (results.scores.num_samples[[*both.ours, *both.theirs]] != 1).any():
        return ()
    # The examples on which only the setting is right, and those on which only the reference is.
    return tuple(mcnemar(row > 0, row < 0) for row in both.values_RE)


def _not_compared(results: StudyResults, differences: Sequence[Comparison]) -> dict[int, str]:
    """Return why measured settings have no comparison with the baseline in the study's metric."""
    assert results.baseline is not None
    metric = _judged(results)
    compared = {one.setting for one in differences if one.metric == metric}
    reasons = {}
    for setting in results.measured():
        if setting in compared or setting == results.baseline:
            continue
        ours, theirs = results.trials_of(setting), results.trials_of(results.baseline)
        if not ours.keys() & theirs.keys():
            reasons[setting] = "shares no seed with the baseline"
        elif metric == "eval_loss" and same_runs(results, setting, results.baseline):
            reasons[setting] = "has the baseline's own runs, so the same losses"
        elif metric in results.scores.values:
            reasons[setting] = "shares no validation example with the baseline"
    return reasons


def _best(results: StudyResults, differences: Sequence[Comparison]) -> int:
    """Return the setting with the largest positive gain over the baseline, else the baseline."""
    assert results.baseline is not None
    gains = {one.setting: one.gain for one in differences if one.metric == _judged(results)}
    best = max(gains, key=lambda setting: gains[setting], default=results.baseline)
    return best if gains.get(best, 0.0) > 0 else results.baseline
