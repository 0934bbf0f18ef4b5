"""A verdict in words: one sentence, the numbers behind it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from tune_distill.analysis.results import in_words, setting_phrase, short_name
from tune_distill.analysis.statistics.comparison import Comparison
from tune_distill.analysis.statistics.significance import ALPHA, POWER
from tune_distill.analysis.verdict import Verdict
from tune_distill.spec.metrics import METRICS
from tune_distill.spec.profile import Profile

_WORTH = 50
"""The most seeds, or times the examples, that are suggested to settle an open question."""


def verdict_sentence(verdict: Verdict) -> str:
    """Return whether there is a difference, and how large it is."""
    if verdict.outcome == "cannot tell":
        return f"Cannot tell: {_why_not(verdict)}."
    metric, baseline = METRICS[verdict.metric].label, baseline_name(verdict)
    better = [one for one in verdict.primary if one.better]
    worse = [one for one in verdict.primary if one.worse]
    if better:
        top = max(better, key=lambda one: one.gain)
        others = f", as {_are(len(better) - 1)}" if len(better) > 1 else ""
        sentence = (
            f"{named(verdict, top.setting)} is detectably better than {baseline} in {metric}: "
            f"{difference_text(top)}{others}"
        )
    elif worse:
        bottom = min(worse, key=lambda one: one.gain)
        name = named(verdict, bottom.setting)
        others = f"{name} is detectably worse"
        if len(verdict.primary) > 1:
            are = "is" if len(worse) == 1 else "are"
            others = f"{len(worse)} of {len(verdict.primary)} others {are} detectably worse, {name}"
            others += " the most" if len(worse) > 1 else ""
        sentence = (
            f"Nothing is detectably better than {baseline} in {metric}; {others}: "
            f"{difference_text(bottom)}"
        )
    else:
        sentence = (
            f"No setting differs detectably from {baseline} in {metric}; {_could_find(verdict)}"
        )
    sentence = sentence[0].upper() + sentence[1:]
    return f"{_scaling_lead(verdict)}{sentence}.{_seed_warning(verdict)}"


def evidence_sentence(verdict: Verdict) -> str:
    """Return what the verdict rests on: the best setting's difference and the amount measured."""
    size = size_text(verdict)
    if verdict.best is None or verdict.outcome == "cannot tell":
        return f"{size}; {_states(verdict)}."
    best = verdict.of_best
    if best is None:
        return f"Best: the baseline, {baseline_name(verdict)}; {size}."
    level = verdict.found.level(verdict.metric, best.setting)
    value = f"{METRICS[verdict.metric].label} {number_text(level.value)}, " if level else ""
    assert verdict.results.baseline is not None
    against = short_name(verdict.results.settings[verdict.results.baseline])
    return (
        f"Best: {named(verdict, best.setting)} ({value}{difference_text(best)} against {against}, "
        f"{p_text(best)}); {size}."
    )


def recommendation(verdict: Verdict) -> str:
    """Return what to do."""
    chosen = verdict.recommended
    if chosen is None:
        return "None: no trial is complete. See the reasons in the table, and run it again."
    keeps = chosen == verdict.results.baseline
    first = f"{'Keep' if keeps else 'Use'} {named(verdict, chosen)}"
    if not keeps and verdict.num_seeds == 1:
        first += " for now"
    if chosen not in (verdict.best, verdict.results.baseline) and chosen in verdict.equally_good:
        less = " and costs less" if verdict.has_tradeoff else ""
        first += f": it is as good as {named(verdict, verdict.best)}{less}"
    parts = [first]
    if verdict.cheaper is not None:
        parts.append(_cheaper_text(verdict, verdict.cheaper))
    if settle := settle_text(verdict):
        parts.append(settle)
    if verdict.num_seeds == 1 and verdict.outcome != "cannot tell":
        parts.append("Run it with --seeds 3 to measure seed noise")
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def three_lines(verdict: Verdict) -> list[str]:
    """Return the verdict as a terminal shows it."""
    return [
        f"verdict: {verdict_sentence(verdict)}",
        f"measured: {evidence_sentence(verdict)}",
        f"recommended: {recommendation(verdict)}",
    ]


def settle_text(verdict: Verdict) -> str:
    """Return what would show the largest undetected gain, if it is real; empty if there is none."""
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
        f"if {named(verdict, one.setting)} is truly better by {number_text(one.gain)}, about "
        f"{' or '.join(ways)} would show it"
    )


def size_text(verdict: Verdict) -> str:
    """Return `3 seeds x 200 examples`, and the answers per example if a trial gave several."""
    size = f"{counted(verdict.num_seeds, 'seed')} x {counted(verdict.num_examples, 'example')}"
    samples = verdict.num_samples
    return f"{size}, up to {samples} answers each" if samples > 1 else size


def baseline_name(verdict: Verdict) -> str:
    """Return the baseline's name: `label smoothing 0.1`."""
    assert verdict.results.baseline is not None
    return named(verdict, verdict.results.baseline)


def difference_text(comparison: Comparison) -> str:
    """Return the difference with its interval: `+0.040 [-0.010, +0.090]`."""
    ours = comparison.estimate
    return f"{ours.value:+.3f} [{ours.low:+.3f}, {ours.high:+.3f}]"


def p_text(comparison: Comparison) -> str:
    """Return `adjusted p 0.012`, or `adjusted p < 0.001`."""
    if comparison.p_adjusted < 0.001:
        return "adjusted p < 0.001"
    return f"adjusted p {comparison.p_adjusted:.2g}"


def number_text(value: float) -> str:
    return f"{value:.3f}"


def profile_text(profile: Profile) -> str:
    """Return which student learns from which data."""
    return f"{profile.student.source} on {profile.data.source}"


_LEADS = {
    "more data helps": "More data helps",
    "has saturated": "More data does not help noticeably",
    "cannot tell": "Cannot tell whether more data helps noticeably",
}


def _scaling_lead(verdict: Verdict) -> str:
    """Return whether it is worth doubling the data; empty unless the data size varies."""
    law = verdict.scaling
    if law is None:
        return ""
    lead, metric = _LEADS[law.conclusion], METRICS[verdict.metric].label
    if law.law.scale == 0 or (law.fit_p_value is not None and law.fit_p_value < ALPHA):
        return f"{lead}: {metric} does not follow a power law. "
    low, high = law.gain_interval
    return (
        f"{lead}: twice the data is expected to improve {metric} by {number_text(law.gain)} "
        f"[{number_text(low)}, {number_text(high)}]. "
    )


def _could_find(verdict: Verdict) -> str:
    """Return what difference the study would have detected."""
    if verdict.smallest_detectable is None:
        return "with so few seeds and examples, no difference could have been detected"
    return (
        f"a true difference of {number_text(verdict.smallest_detectable)} would have been detected "
        f"with {POWER:.0%} probability"
    )


def _cheaper_text(verdict: Verdict, one: Comparison) -> str:
    baseline = verdict.results.baseline
    assert baseline is not None
    share = verdict.costs[one.setting] / verdict.costs[baseline]
    return (
        f"{named(verdict, one.setting)} takes {share:.2f} times as long and loses little or no "
        f"{METRICS[verdict.metric].label} ({difference_text(one)})"
    )


def _why_not(verdict: Verdict) -> str:
    results = verdict.results
    if not len(results.complete):
        return f"no trial is complete ({_states(verdict)})"
    if verdict.metric not in results.scores.values:
        return f"the predictions have no {METRICS[verdict.metric].label} for each example"
    if len(results.measured()) == 1:
        return f"only {named(verdict, results.measured()[0])} has a complete trial"
    return "no setting could be paired with the baseline"


def _seed_warning(verdict: Verdict) -> str:
    return " With one seed, seed noise is not measured." if verdict.num_seeds == 1 else ""


def _states(verdict: Verdict) -> str:
    counts = verdict.results.trials["state"].value_counts()
    states = ("complete", "pruned", "failed")
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in states)


def named(verdict: Verdict, setting: int | None) -> str:
    """Return the setting's name: `label smoothing 0.1`."""
    assert setting is not None
    return setting_phrase(verdict.results.settings[setting])


def listed(verdict: Verdict, settings: Sequence[int]) -> str:
    """Return the settings' short names, after the names of their columns if there are several."""
    columns = [in_words(column) for column in verdict.results.columns]
    comma = "; " if len(columns) > 1 else ", "
    names = comma.join(short_name(verdict.results.settings[setting]) for setting in settings)
    return f"({', '.join(columns)}) {names}" if len(columns) > 1 else names


def _are(count: int) -> str:
    return "is 1 other" if count == 1 else f"are {count} others"


def counted(count: int, noun: str) -> str:
    """Return `1 seed`, `3 seeds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
