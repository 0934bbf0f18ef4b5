"""A verdict in plain values, for summary.json and `tune_distill.verdict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tune_distill.analysis.remarks import findings, notes
from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.comparison import Comparison
from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.statistics.scaling import Scaling
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import (
    evidence_sentence,
    recommendation,
    three_lines,
    verdict_sentence,
)

Summary = dict[str, Any]


def summary_of(verdict: Verdict) -> Summary:
    """Return the verdict in plain values, as results/README.md documents them."""
    results, found = verdict.results, verdict.found
    return {
        "study": results.name,
        "question": results.study.question,
        "metric": verdict.metric,
        "mode": results.study.metric.mode,
        "baseline": _setting(results, results.baseline),
        "best": _setting(results, verdict.best),
        "outcome": verdict.outcome,
        "verdict": verdict_sentence(verdict),
        "evidence": evidence_sentence(verdict),
        "recommended": _setting(results, verdict.recommended),
        "recommendation": recommendation(verdict),
        "lines": three_lines(verdict),
        "num_seeds": verdict.num_seeds,
        "num_examples": verdict.num_examples,
        "smallest_detectable": verdict.smallest_detectable,
        "trials": {
            state: int((results.trials["state"] == state).sum())
            for state in ("complete", "pruned", "failed")
        },
        "comparisons": [
            _comparison(results, one) for one in [*found.with_baseline, *found.with_best]
        ],
        "settings": [_measured(verdict, setting) for setting in range(len(results.settings))],
        "equally_good": [_setting(results, setting) for setting in verdict.equally_good],
        "left_out": [
            {"setting": _setting(results, left.setting), "reason": left.reason}
            for left in verdict.left_out
        ],
        "findings": findings(verdict),
        "notes": notes(verdict),
        "scaling": _scaling(verdict.scaling),
    }


def _setting(results: StudyResults, setting: int | None) -> dict[str, Any] | None:
    return None if setting is None else dict(results.settings[setting])


def _comparison(results: StudyResults, one: Comparison) -> Summary:
    ours = one.estimate
    return {
        "setting": _setting(results, one.setting),
        "baseline": _setting(results, one.reference),
        "metric": one.metric,
        "family": one.family,
        "difference": ours.value,
        "ci_low": ours.low,
        "ci_high": ours.high,
        "test": one.test,
        "p_value": one.p_value,
        "p_adjusted": one.p_adjusted,
        "detectable": one.detectable,
        "mcnemar_p_values": list(one.mcnemar),
        "num_seeds": ours.num_seeds,
        "num_examples": ours.num_examples,
        "smallest_detectable": one.smallest_detectable,
        "examples_needed": None if one.detectable else one.examples_needed,
        "seeds_needed": None if one.detectable else one.seeds_needed,
    }


def _measured(verdict: Verdict, setting: int) -> Summary:
    """Return how one setting's trials ended, its means with their intervals, and its cost."""
    results = verdict.results
    states = results.trials.loc[results.trials["setting"] == setting, "state"]
    levels: Mapping[str, Estimate | None] = {
        metric: verdict.found.level(metric, setting) for metric in verdict.found.levels
    }
    return {
        "setting": _setting(results, setting),
        "trials": {s: int((states == s).sum()) for s in ("complete", "pruned", "failed")},
        "means": {
            metric: {"mean": level.value, "ci_low": level.low, "ci_high": level.high}
            for metric, level in levels.items()
            if level is not None
        },
        "cost_s": verdict.costs.get(setting),
    }


def _scaling(law: Scaling | None) -> Summary | None:
    if law is None:
        return None
    return {
        "scale": law.law.scale,
        "unit": law.law.unit,
        "exponent": law.law.exponent,
        "exponent_ci": list(law.exponent),
        "floor": law.law.floor,
        "gain_of_doubling": law.gain,
        "gain_of_doubling_ci": list(law.gain_interval),
        "fit_p_value": law.fit_p_value,
        "conclusion": law.conclusion,
    }
