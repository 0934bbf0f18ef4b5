"""A verdict in words: one sentence, the numbers behind it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from tune_distill.analysis.results import setting_phrase, short_name, words
from tune_distill.analysis.scores import LOWER_IS_BETTER
from tune_distill.analysis.statistics.comparisons import Comparison
from tune_distill.analysis.statistics.significance import ALPHA
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict import Verdict
from tune_distill.spec.profile import Profile

METRIC_NAMES = {
    "label_accuracy": "label accuracy",
    "parse_rate": "parse rate",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "faithfulness": "faithfulness",
    "grounding": "grounding",
    "eval_loss": "evaluation loss",
    "bertscore": "BERTScore",
}

METRIC_UNITS = {
    "label_accuracy": "share of answers",
    "parse_rate": "share of answers",
    "rouge1": "F1",
    "rouge2": "F1",
    "rougeL": "F1",
    "faithfulness": "share of answers",
    "grounding": "share of content words",
    "eval_loss": "nats a token",
    "bertscore": "F1",
}


_WORTH = 50
"""So many times the examples, or so many seeds, are the most that anybody will settle it with."""


def verdict_sentence(verdict: Verdict) -> str:
    """Is there a difference, and how large."""
    if verdict.outcome == "cannot tell":
        return f"Cannot tell: {_why_not(verdict)}."
    metric, baseline = METRIC_NAMES[verdict.metric], baseline_name(verdict)
    better = [one for one in verdict.primary if one.better]
    worse = [one for one in verdict.primary if one.worse]
    if better:
        top = max(better, key=lambda one: one.gain)
        others = f", as {_are(len(better) - 1)}" if len(better) > 1 else ""
        sentence = (
            f"{_named(verdict, top.setting)} is detectably better than {baseline} in {metric}, "
            f"{difference_text(top)}{others}"
        )
    elif worse:
        bottom = min(worse, key=lambda one: one.gain)
        name = _named(verdict, bottom.setting)
        others = f"{name} is detectably worse"
        if len(verdict.primary) > 1:
            are = "is" if len(worse) == 1 else "are"
            others = f"{len(worse)} of {len(verdict.primary)} others {are} detectably worse, {name}"
            others += " the most" if len(worse) > 1 else ""
        sentence = (
            f"Nothing is detectably better than {baseline} in {metric}; {others}, "
            f"{difference_text(bottom)}"
        )
    else:
        sentence = f"No detectable difference from {baseline} in {metric}; {_could_find(verdict)}"
    sentence = sentence[0].upper() + sentence[1:]
    return f"{_scaling_lead(verdict)}{sentence}{_seed_warning(verdict)}."


def evidence_sentence(verdict: Verdict) -> str:
    """What the verdict rests on: the best setting's difference, and how much was measured."""
    size = f"{_count(verdict.num_seeds, 'seed')} x {_count(verdict.num_examples, 'example')}"
    if verdict.best is None or verdict.outcome == "cannot tell":
        return f"{size}; {_states(verdict)}."
    best = verdict.of_best
    if best is None:
        return f"Best is the baseline, {baseline_name(verdict)}; {size}."
    level = verdict.found.level(verdict.metric, best.setting)
    value = f" {number_text(level.value)}" if level else ""
    return (
        f"Best is {_named(verdict, best.setting)}{value}: {difference_text(best)} against "
        f"{baseline_name(verdict)}, {p_text(best)}; {size}."
    )


def recommendation(verdict: Verdict) -> str:
    """What to do."""
    chosen = verdict.recommended
    if chosen is None:
        return "None: no trial is complete. See the reasons in the table, and run it again."
    parts = [
        f"Keep {_named(verdict, chosen)}"
        if chosen == verdict.results.baseline
        else f"Use {_named(verdict, chosen)}{', provisionally' if verdict.num_seeds == 1 else ''}"
    ]
    if chosen not in (verdict.best, verdict.results.baseline) and chosen in verdict.equally_good:
        less = " and costs less" if verdict.has_tradeoff else ""
        parts.append(f"it is as good as {_named(verdict, verdict.best)}{less}")
    if verdict.cheaper is not None:
        parts.append(_cheaper_text(verdict, verdict.cheaper))
    settle = settle_text(verdict)
    if settle:
        parts.append(settle)
    if verdict.num_seeds == 1 and verdict.outcome != "cannot tell":
        parts.append("run it with --seeds 3 to measure seed noise")
    return "; ".join(parts) + "."


def three_lines(verdict: Verdict) -> list[str]:
    """The verdict as a terminal shows it."""
    return [
        f"verdict: {verdict_sentence(verdict)}",
        f"measured: {evidence_sentence(verdict)}",
        f"recommended: {recommendation(verdict)}",
    ]


def findings(verdict: Verdict) -> list[str]:
    """What the study's own shape adds, a sentence each."""
    metric = METRIC_NAMES[verdict.metric]
    found = []
    law = verdict.scaling
    if law is not None:
        low, high = law.exponent
        falls = f"{metric[0].upper()}{metric[1:]}"
        if verdict.metric not in LOWER_IS_BETTER:
            falls = f"What {metric} lacks"
        floor = f", down to {number_text(law.law.floor)}" if law.law.floor else ""
        fit = ""
        if law.fit_p_value is not None:
            how = "fits" if law.fit_p_value >= ALPHA else "fits badly"
            fit = f", which {how} (p {law.fit_p_value:.2g})"
        found.append(
            f"{falls} falls with the data as a power law with exponent "
            f"{law.law.exponent:.2f} [{low:.2f}, {high:.2f}]{floor}{fit}."
        )
        found += _efficiency(verdict)
    span = verdict.good_range
    if span is not None and law is None:
        found.append(_range_text(verdict))
    front = [one for one in verdict.tradeoffs if one.on_front]
    if verdict.has_tradeoff:
        names = _listed(verdict, [one.setting for one in front])
        found.append(f"Not beaten in both {metric} and seconds a trial: {names}.")
    behind = [one.behind for one in verdict.censored if one.behind is not None]
    if verdict.censored:
        ahead = ""
        if any(behind):
            mean = sum(behind) / len(behind)
            ahead = f", on average {mean:.3g} behind the best setting's loss at the same step"
        found.append(
            f"{_count(len(verdict.censored), 'trial')} pruned before the end{ahead}; what they "
            "would have reached is not known."
        )
    return found


def notes(verdict: Verdict) -> list[str]:
    """What a reader must know of how the comparisons were made."""
    results = verdict.results
    found = [results.baseline_note] if results.baseline_note else []
    if verdict.num_seeds == 1 and verdict.primary:
        found.append(
            "One seed: seed noise is not measured, and the intervals hold for these very "
            "trainings, not for the settings in general."
        )
    reasons: dict[str, list[int]] = {}
    for left in verdict.left_out:
        reasons.setdefault(left.reason, []).append(left.setting)
    found += [
        f"Not compared, because it {_sentence(reason)}: {_listed(verdict, settings)}."
        for reason, settings in reasons.items()
    ]
    whole = {one.estimate.num_seeds for one in verdict.primary} | {verdict.num_seeds}
    if verdict.primary and len(whole) > 1:
        found += [
            f"{_named(verdict, one.setting)} is compared on "
            f"{_count(one.estimate.num_seeds, 'seed')} of {verdict.num_seeds}: the others lack a "
            f"complete trial{_unmeasured(one)}."
            for one in verdict.primary
            if one.estimate.num_seeds < verdict.num_seeds
        ]
    found += [
        f"{_named(verdict, one.setting)} is compared on the {one.estimate.num_examples} of "
        f"{verdict.num_examples} validation examples that it shares with the baseline."
        for one in verdict.primary
        if one.estimate.num_examples < verdict.num_examples
    ]
    return found


def settle_text(verdict: Verdict) -> str:
    """What would settle the largest open difference; empty where none is open."""
    one = verdict.open_question
    if one is None or one.gain <= 0 or verdict.outcome == "better":
        return ""
    examples, seeds = one.examples_needed, one.seeds_needed
    affordable = _WORTH * verdict.num_examples
    ways = [f"{examples:,} examples"] if examples and examples <= affordable else []
    ways += [f"{seeds} seeds"] if seeds and seeds <= _WORTH else []
    if not ways:
        return ""
    return (
        f"to settle {_named(verdict, one.setting)} ({difference_text(one)}) if that is its true "
        f"size, about {' or '.join(ways)}"
    )


def baseline_name(verdict: Verdict) -> str:
    """`label smoothing 0.1`."""
    assert verdict.results.baseline is not None
    return _named(verdict, verdict.results.baseline)


def difference_text(comparison: Comparison) -> str:
    """`+0.040 [-0.010, +0.090]`."""
    ours = comparison.estimate
    return f"{ours.value:+.3f} [{ours.low:+.3f}, {ours.high:+.3f}]"


def p_text(comparison: Comparison) -> str:
    """`adjusted p 0.012`; below a thousandth only that."""
    if comparison.p_adjusted < 0.001:
        return "adjusted p < 0.001"
    return f"adjusted p {comparison.p_adjusted:.2g}"


def number_text(value: float) -> str:
    return f"{value:.3f}"


def profile_text(profile: Profile) -> str:
    """Which student on which data."""
    return f"{profile.student.source} on {profile.data.source}"


_LEADS = {
    "more data helps": "More data helps",
    "has saturated": "More data no longer helps",
    "cannot tell": "Cannot tell whether more data helps noticeably",
}


def _scaling_lead(verdict: Verdict) -> str:
    """What a study of data size was asked first: is it worth doubling the data?"""
    law = verdict.scaling
    if law is None:
        return ""
    low, high = law.gain_interval
    return (
        f"{_LEADS[law.conclusion]}: twice the data is expected to improve "
        f"{METRIC_NAMES[verdict.metric]} by {number_text(law.gain)} [{number_text(low)}, "
        f"{number_text(high)}]. "
    )


def _efficiency(verdict: Verdict) -> list[str]:
    """How much of the metric the next smaller data size keeps."""
    baseline = verdict.results.baseline
    assert baseline is not None
    whole = verdict.found.level(verdict.metric, baseline)
    smaller = [one for one in verdict.primary if one.gain < 0]
    if not smaller or whole is None or whole.value == 0:
        return []
    nearest = max(smaller, key=lambda one: one.gain)
    share = (whole.value + nearest.estimate.value) / whole.value
    return [
        f"Data efficiency: {_named(verdict, nearest.setting)} reaches {share:.0%} of the "
        f"{METRIC_NAMES[verdict.metric]} of {baseline_name(verdict)}, {difference_text(nearest)}."
    ]


def _could_find(verdict: Verdict) -> str:
    """What the study would have found, where it would have found anything."""
    smallest = verdict.smallest_detectable
    assert smallest is not None
    if smallest >= 1 and verdict.metric not in LOWER_IS_BETTER:
        return "so few seeds and examples would have shown none"
    return f"a difference of {number_text(smallest)} would probably have been found"


def _range_text(verdict: Verdict) -> str:
    span = verdict.good_range
    assert span is not None
    name = words(span.column)
    outside = [
        f"{verdict.results.text(setting)} {_fate(verdict, setting)}"
        for setting in (span.below, span.above)
        if setting is not None
    ]
    tail = f"; {' and '.join(outside)}" if outside else ", all that was tried"
    if span.low == span.high:
        return f"No neighbouring {name} is as good as {setting_text(span.best)}{tail}."
    return (
        f"Not detectably worse than the best: {name} from {setting_text(span.low)} to "
        f"{setting_text(span.high)}{tail}."
    )


def _fate(verdict: Verdict, setting: int) -> str:
    """Why a setting is outside the range of the good ones."""
    reasons = {left.setting: left.reason for left in verdict.left_out}
    if setting in reasons:
        return _sentence(reasons[setting])
    against = verdict.found.with_best if verdict.found.with_best else verdict.primary
    compared = setting in {one.setting for one in against}
    return "is detectably worse" if compared else "shares no seed with it"


def _cheaper_text(verdict: Verdict, one: Comparison) -> str:
    baseline = verdict.results.baseline
    assert baseline is not None
    share = verdict.costs[one.setting] / verdict.costs[baseline]
    return (
        f"{_named(verdict, one.setting)} takes {share:.2f} of its time, and costs little in "
        f"{METRIC_NAMES[verdict.metric]} if anything, {difference_text(one)}"
    )


def _why_not(verdict: Verdict) -> str:
    results = verdict.results
    if not len(results.complete):
        return f"no trial is complete ({_states(verdict)})"
    if verdict.metric not in results.scores.values:
        return f"the predictions have no {METRIC_NAMES[verdict.metric]} an example"
    if len(results.measured()) == 1:
        return f"only {_named(verdict, results.measured()[0])} has a complete trial"
    return "no setting shares seeds, examples and differing runs with the baseline"


def _seed_warning(verdict: Verdict) -> str:
    return " (one seed: seed noise is not measured)" if verdict.num_seeds == 1 else ""


def _unmeasured(one: Comparison) -> str:
    return ", and seed noise is not measured" if one.estimate.parts.seed is None else ""


def _states(verdict: Verdict) -> str:
    counts = verdict.results.trials["state"].value_counts()
    states = ("complete", "pruned", "failed")
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in states)


def _named(verdict: Verdict, setting: int | None) -> str:
    assert setting is not None
    return setting_phrase(verdict.results.settings[setting])


def _short(verdict: Verdict, setting: int) -> str:
    return short_name(verdict.results.settings[setting])


def _listed(verdict: Verdict, settings: Sequence[int]) -> str:
    """Settings by their short names, after the names of what they are values of."""
    columns = [words(column) for column in verdict.results.columns]
    comma = "; " if len(columns) > 1 else ", "
    names = comma.join(_short(verdict, setting) for setting in settings)
    return f"({', '.join(columns)}) {names}" if len(columns) > 1 else names


def _are(count: int) -> str:
    return "is 1 other" if count == 1 else f"are {count} others"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _sentence(reason: str) -> str:
    """The reason as the end of a sentence: `was pruned`, `failed: ...`, `shares no seed`."""
    return f"was {reason}" if reason.startswith("pruned") else reason.rstrip(".")
