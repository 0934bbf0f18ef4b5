"""Further remarks on a verdict: findings for its kind of study, and limits of the comparisons."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from tune_distill.analysis.results import in_words
from tune_distill.analysis.statistics.scaling import LARGEST_EXPONENT, Scaling
from tune_distill.analysis.statistics.significance import ALPHA
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import (
    baseline_name,
    counted,
    difference_text,
    listed,
    named,
    number_text,
)
from tune_distill.spec.metrics import METRICS


def findings(verdict: Verdict) -> list[str]:
    """Return what the analyses for the kind of study add, a sentence each."""
    found = []
    if verdict.scaling is not None:
        found += [law_text(verdict), *_efficiency(verdict)]
    elif verdict.good_range is not None:
        found.append(_range_text(verdict))
    if verdict.has_tradeoff:
        front = [one.setting for one in verdict.tradeoffs if one.on_front]
        metric = METRICS[verdict.metric].label
        found.append(f"Not beaten in both {metric} and seconds a trial: {listed(verdict, front)}.")
    if verdict.censored:
        found.append(_pruned_text(verdict))
    return found


def notes(verdict: Verdict) -> list[str]:
    """Return what a reader must know about how the comparisons were made, a sentence each."""
    found = [verdict.results.baseline_note] if verdict.results.baseline_note else []
    if verdict.num_seeds == 1 and verdict.primary:
        found.append(
            "One seed: seed noise is not measured, and the intervals hold for these very "
            "trainings, not for the settings in general."
        )
    reasons: dict[str, list[int]] = {}
    for left in verdict.left_out:
        reasons.setdefault(left.reason, []).append(left.setting)
    found += [
        f"Not compared: {listed(verdict, settings)} ({reason.rstrip('.')})."
        for reason, settings in reasons.items()
    ]
    return [*found, *_smaller(verdict), *_mixed_machines(verdict.results.complete)]


def _smaller(verdict: Verdict) -> list[str]:
    """Return notes on settings that are compared on less than was measured."""
    found = []
    for one in verdict.primary:
        ours, name = one.estimate, named(verdict, one.setting)
        if ours.num_seeds < verdict.num_seeds:
            unmeasured = ", and seed noise is not measured" if ours.parts.seed is None else ""
            found.append(
                f"Compared on {counted(ours.num_seeds, 'seed')} of {verdict.num_seeds}: {name}; "
                f"it or the baseline lacks a complete trial, or the metric, elsewhere{unmeasured}."
            )
        if ours.num_examples < verdict.num_examples:
            found.append(
                f"Compared on {ours.num_examples:,} of {verdict.num_examples:,} validation "
                f"examples: "
                f"{name}, which shares no more with the baseline."
            )
    return found


def _mixed_machines(complete: pd.DataFrame) -> list[str]:
    """Return a note if the complete trials were trained on different machines."""
    # Tables of earlier versions lack these columns.
    if not {"device", "instruction_set"} <= set(complete.columns):
        return []
    counts = Counter(zip(complete["device"], complete["instruction_set"], strict=True))
    if len(counts) < 2:
        return []
    several = len({device for device, _ in counts}) > 1
    differ = (
        "on another device chance moves a training as another seed does"
        if several
        else "losses agree to about six digits across them, and single answers may differ"
    )
    machines = ", ".join(f"{count} on {d} ({which})" for (d, which), count in counts.items())
    return [f"Trained on different {'devices' if several else 'processors'}: {machines}; {differ}."]


def law_text(verdict: Verdict) -> str:
    """Return a sentence about the power law of a study of data size."""
    law, metric = verdict.scaling, METRICS[verdict.metric].label
    assert law is not None
    if law.law.scale == 0 or law.law.exponent == 0:
        return f"No power law fits: {metric} does not improve steadily with the data."
    if law.fit_p_value is not None and law.fit_p_value < ALPHA:
        return (
            f"The nearest power law has exponent {law.law.exponent:.2f}, and fits badly "
            f"(p {law.fit_p_value:.2g})."
        )
    ends = exponent_text(law)
    falls = f"{metric[0].upper()}{metric[1:]}"
    if not METRICS[verdict.metric].lower_is_better:
        falls = f"What {metric} lacks"
    floor = f", down to {number_text(law.law.floor)}" if law.law.floor else ""
    fit = "" if law.fit_p_value is None else f", which fits (p {law.fit_p_value:.2g})"
    return (
        f"{falls} falls with the data as a power law with exponent {law.law.exponent:.2f} "
        f"{ends}{floor}{fit}."
    )


def exponent_text(law: Scaling) -> str:
    """Return the interval of a law's exponent, open if it ends at the largest that is tried."""
    low, high = law.exponent
    return f"[{low:.2f} or more]" if high > LARGEST_EXPONENT - 0.01 else f"[{low:.2f}, {high:.2f}]"


def _efficiency(verdict: Verdict) -> list[str]:
    """Return how much of the metric the next smaller data size keeps, if higher is better."""
    results, baseline = verdict.results, verdict.results.baseline
    assert baseline is not None
    whole = verdict.found.level(verdict.metric, baseline)
    if whole is None or whole.value == 0 or METRICS[verdict.metric].lower_is_better:
        return []
    sizes = results.complete.groupby("setting")["num_train"].mean()
    smaller = [one for one in verdict.primary if sizes[one.setting] < sizes[baseline]]
    if not smaller:
        return []
    nearest = max(smaller, key=lambda one: sizes[one.setting])
    if nearest.gain > 0:
        return []
    share = (whole.value + nearest.estimate.value) / whole.value
    return [
        f"Data efficiency: {named(verdict, nearest.setting)} reaches {share:.0%} of the "
        f"{METRICS[verdict.metric].label} of {baseline_name(verdict)}, {difference_text(nearest)}."
    ]


def _range_text(verdict: Verdict) -> str:
    """Return the range of the varied number that is as good as its best value."""
    span = verdict.good_range
    assert span is not None
    name = in_words(span.column)
    ends = [
        f"{verdict.results.text(setting)} {_fate(verdict, setting)}"
        for setting in (span.below, span.above)
        if setting is not None
    ]
    tail = f"; next to it {' and '.join(ends)}" if ends else ", all that was tried"
    values = [verdict.results.settings[setting][span.column] for setting in verdict.equally_good]
    beyond = [
        setting_text(value)
        for value in values
        if isinstance(value, int | float) and not span.low <= value <= span.high
    ]
    also = f" As good, further off: {', '.join(beyond)}." if beyond else ""
    if span.low == span.high:
        best = setting_text(span.best)
        return f"No neighbour of the best {name} is known to be as good: {best}{tail}.{also}"
    return (
        f"Not detectably worse than the best: {name} from {setting_text(span.low)} to "
        f"{setting_text(span.high)}{tail}.{also}"
    )


def _fate(verdict: Verdict, setting: int) -> str:
    """Return why a setting is outside the range of the good ones."""
    if setting in {left.setting for left in verdict.left_out}:
        return "was not compared"
    against = verdict.found.with_best if verdict.found.with_best else verdict.primary
    compared = setting in {one.setting for one in against}
    return "is detectably worse" if compared else "was not compared"


def _pruned_text(verdict: Verdict) -> str:
    """Return how far behind pruned trials were when they were stopped."""
    behind = [one.behind for one in verdict.censored if one.behind is not None]
    ahead = ""
    if any(behind):
        mean = sum(behind) / len(behind)
        side = "behind" if mean > 0 else "ahead of"
        ahead = f", on average {abs(mean):.3g} {side} the best setting's loss at the same step"
    several = len(verdict.censored) > 1
    return (
        f"{counted(len(verdict.censored), 'trial')} {'were' if several else 'was'} pruned before "
        f"the end{ahead}; what {'they' if several else 'it'} would have reached is not known."
    )
