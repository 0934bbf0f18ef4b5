"""Every setting of a study against its baseline, and against the best, pair by pair.

Two questions, so two families of comparisons, each with Holm's correction: does a setting differ
from the baseline, and which settings are as good as the best? For the second the best setting is
picked by the same numbers; asking all others keeps the truly best one among the equally good all
the same (Hsu 1996, multiple comparisons with the best). The other metrics are a third family, of
all their comparisons with the baseline together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.scores import Scores
from tune_distill.analysis.statistics.comparison import (
    Comparison,
    Comparisons,
    Family,
    corrected,
    improvement,
)
from tune_distill.analysis.statistics.resampling import (
    Estimate,
    SeedNoise,
    estimate,
    own_seed_noise,
    pooled_seed_noise,
    resampled_means,
)
from tune_distill.analysis.statistics.significance import mcnemar
from tune_distill.spec.metrics import METRICS

Real = NDArray[np.float64]

_PAIRS_AT_ONCE = 1000


@dataclass(frozen=True)
class _Pair:
    """What a comparison or a level is the mean of: R trials, less those of the reference.

    The values are gathered when asked for: those of a hundred settings are a gigabyte.
    """

    setting: int
    reference: int | None
    metric: str
    ours: list[int]
    theirs: list[int]
    examples: NDArray[np.intp]
    mcnemar: tuple[float, ...] = ()

    def values(self, scores: Scores) -> Real:
        """The values (R, E) on these examples."""
        values_TE = scores.values[self.metric]
        ours_RE = values_TE[self.ours][:, self.examples]
        if self.reference is None:
            return ours_RE
        return np.asarray(ours_RE - values_TE[self.theirs][:, self.examples])


def compare(results: StudyResults) -> Comparisons:
    """All comparisons of a study, corrected."""
    metric, measured = results.study.metric.name, results.measured()
    if not measured:
        return Comparisons({}, None, [], [], {}, {})
    values = results.scores.values
    levels = [_pair(results, name, setting, None) for name in values for setting in measured]
    differences, not_compared = _differences(results, measured)
    best = _best(results, metric, differences)
    rivals = _against(results, metric, best, measured) if best != results.baseline else []
    pairs = [pair for pair in [*levels, *differences, *rivals] if pair is not None]
    noise = {(name, paired): _noise(results, name, paired) for name in values for paired in (0, 1)}
    found: dict[str, dict[int, Estimate]] = {}
    resampled: dict[int, Real] = {}
    compared: list[Comparison] = []
    for pair, means_B in _resampled(results.scores, pairs):
        paired = pair.reference is not None
        values_RE = pair.values(results.scores)
        pooled, own = noise[pair.metric, int(paired)], own_seed_noise(values_RE, paired)
        shared = pair.reference is not None and _same_runs(results, pair.setting, pair.reference)
        seeds = _larger(pooled, own) if shared else pooled or own
        ours = estimate(values_RE, seeds, means_B, bounded=METRICS[pair.metric].is_share)
        if METRICS[pair.metric].is_share:
            least = 0.0 if pair.reference is None else -1.0
            ours = replace(ours, low=max(least, ours.low), high=min(1.0, ours.high))
        if pair.reference is None:
            found.setdefault(pair.metric, {})[pair.setting] = ours
            if pair.metric == metric:
                # A copy, because the matrix that it is a column of would stay with it.
                resampled[pair.setting] = means_B.copy()
        else:
            compared.append(_comparison(pair, ours, results.baseline, metric))
    adjusted = corrected(compared)
    return Comparisons(
        found,
        best,
        [one for one in adjusted if one.family != "best"],
        [one for one in adjusted if one.family == "best"],
        not_compared,
        resampled,
    )


def _resampled(scores: Scores, pairs: Sequence[_Pair]) -> Iterator[tuple[_Pair, Real]]:
    """Each pair and the means (B) of its values over resamples of the examples.

    Some pairs at a time: those of ten thousand settings are gigabytes. The resamples are the same
    every time.
    """
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        columns = [(pair.examples, pair.values(scores).mean(axis=0)) for pair in some]
        yield from zip(some, resampled_means(columns, len(scores.example_ids)), strict=True)


def _differences(
    results: StudyResults, measured: Sequence[int]
) -> tuple[list[_Pair], dict[int, str]]:
    """Pairs of each setting and the baseline, in every metric; why some have none."""
    pairs, reasons = [], {}
    for setting in measured:
        if setting == results.baseline:
            continue
        assert results.baseline is not None
        shared = results.trials_of(setting).keys() & results.trials_of(results.baseline).keys()
        if not shared:
            reasons[setting] = "shares no seed with the baseline"
            continue
        for metric in results.scores.values:
            pair = _pair(results, metric, setting, results.baseline)
            if pair is not None:
                pairs.append(pair)
            elif metric == results.study.metric.name:
                reasons[setting] = _why_not(results, metric, setting, results.baseline)
    return pairs, reasons


def _why_not(results: StudyResults, metric: str, setting: int, reference: int) -> str:
    if _same_runs(results, setting, reference) and metric == "eval_loss":
        return "has the baseline's own runs, so the same losses"
    return "shares no validation example with the baseline"


def _against(
    results: StudyResults, metric: str, best: int | None, measured: Iterable[int]
) -> list[_Pair]:
    pairs = [_pair(results, metric, other, best) for other in measured if other != best]
    return [pair for pair in pairs if pair is not None]


def _pair(results: StudyResults, metric: str, setting: int, reference: int | None) -> _Pair | None:
    """A setting's values, less the reference's if there is one; none where they share nothing."""
    if metric == "eval_loss" and reference is not None and _same_runs(results, setting, reference):
        return None
    values_TE = results.scores.values[metric]
    ours = results.trials_of(setting)
    theirs = results.trials_of(reference) if reference is not None else ours
    seeds = sorted(ours.keys() & theirs.keys())
    absent_RE = np.isnan(
        values_TE[[ours[seed] for seed in seeds]] + values_TE[[theirs[seed] for seed in seeds]]
    )
    # A trial may lack a metric altogether, the loss of an older evaluation say.
    kept = np.flatnonzero(~absent_RE.all(axis=1))
    examples = np.flatnonzero(~absent_RE[kept].any(axis=0))
    if not len(kept) or not len(examples):
        return None
    seeds = [seeds[row] for row in kept]
    first, second = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    exact: tuple[float, ...] = ()
    once = bool((results.scores.num_samples[[*first, *second]] == 1).all())
    if reference is not None and metric == "label_accuracy" and once:
        exact = tuple(
            mcnemar(values_TE[one, examples] > 0.5, values_TE[other, examples] > 0.5)
            for one, other in zip(first, second, strict=True)
        )
    return _Pair(setting, reference, metric, first, second, examples, exact)


def _same_runs(results: StudyResults, setting: int, reference: int) -> bool:
    """Whether two settings decode the same students, with every seed that they share."""
    ours, theirs = results.trials_of(setting), results.trials_of(reference)
    keys = results.run_keys
    return all(keys[ours[seed]] == keys[theirs[seed]] for seed in ours.keys() & theirs.keys())


def _best(results: StudyResults, metric: str, differences: Sequence[_Pair]) -> int | None:
    """The setting with the best mean, by its difference from the baseline; ties keep the latter."""
    if metric not in results.scores.values:
        return results.baseline
    assert results.baseline is not None
    gains = {results.baseline: 0.0}
    for pair in differences:
        if pair.metric == metric:
            mean = float(pair.values(results.scores).mean())
            gains[pair.setting] = improvement(metric, mean)
    return max(gains, key=lambda setting: (gains[setting], setting == results.baseline))


def _larger(pooled: SeedNoise | None, own: SeedNoise | None) -> SeedNoise | None:
    """The pooled noise, with the pair's own variance where that is larger.

    Settings that decode one student move together with its seed, some more closely than others:
    there the pool's average is too little for a pair that does not.
    """
    if pooled is None or own is None or own.variance <= pooled.variance:
        return pooled or own
    return replace(pooled, variance=own.variance)


def _noise(results: StudyResults, metric: str, paired: int) -> SeedNoise | None:
    """The pooled seed noise of a metric, from every setting's every complete trial."""
    complete, values_TE = results.complete, results.scores.values[metric]
    seeds = sorted(set(complete["seed"]))
    means_SR = np.full((len(results.settings), len(seeds)), np.nan)
    rows = (complete["setting"].to_numpy(), complete["seed"].map(seeds.index).to_numpy())
    present = ~np.isnan(values_TE).all(axis=1)
    means_T = np.full(len(values_TE), np.nan)
    means_T[present] = np.nanmean(values_TE[present], axis=1)
    means_SR[rows] = means_T
    return pooled_seed_noise(means_SR[~np.isnan(means_SR).all(axis=1)], bool(paired))


def _comparison(pair: _Pair, ours: Estimate, baseline: int | None, study_metric: str) -> Comparison:
    assert pair.reference is not None
    family: Family = "other metrics"
    if pair.metric == study_metric:
        family = "baseline" if pair.reference == baseline else "best"
    # McNemar's test knows of no seed noise: it is for a study that has none to show.
    exact = len(pair.mcnemar) == 1 and ours.parts.seed is None
    return Comparison(
        setting=pair.setting,
        reference=pair.reference,
        metric=pair.metric,
        family=family,
        estimate=ours,
        test="exact McNemar" if exact else "paired bootstrap",
        p_value=pair.mcnemar[0] if exact else ours.p_value,
        mcnemar=pair.mcnemar,
    )
