"""The verdict on a study: whether settings differ, by how much, and which one to use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.statistics.comparison import Comparison, Comparisons, improvement
from tune_distill.analysis.statistics.comparisons import compare
from tune_distill.analysis.statistics.scaling import Scaling, scaling
from tune_distill.analysis.statistics.shapes import (
    SAME_COST,
    Censored,
    GoodRange,
    Tradeoff,
    censored,
    costs_vary,
    decodes_only,
    equally_good,
    good_range,
    setting_costs,
    tradeoffs,
)
from tune_distill.spec.metrics import METRICS

Outcome = Literal["better", "worse", "no difference detected", "cannot tell"]

_CHEAPER = 0.8
"""The largest share of the baseline's cost that is worth mentioning."""

_TOLERATED = 0.05
"""The loss of quality that the interval must rule out, before a cheaper setting is mentioned: five
points, or 5 % of a loss."""


@dataclass(frozen=True)
class LeftOut:
    """A setting that could not be compared, and why."""

    setting: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The conclusions of the statistics about a study.

    `outcome`: some setting is detectably better than the baseline; none is, but some are worse;
    nothing differs detectably; or there was nothing to compare. `recommended` is a setting, None
    only if no trial is complete. `cheaper` is one that costs clearly less than the recommended
    baseline and is at most slightly worse.
    """

    results: StudyResults
    found: Comparisons
    outcome: Outcome
    recommended: int | None
    cheaper: Comparison | None
    left_out: list[LeftOut]

    @property
    def metric(self) -> str:
        return self.results.study.metric.name

    @property
    def primary(self) -> list[Comparison]:
        """The comparisons with the baseline in the study's metric, on which the verdict rests."""
        return self.found.of(self.metric)

    @property
    def best(self) -> int | None:
        return self.found.best

    @property
    def num_seeds(self) -> int:
        """The number of seeds with a complete trial."""
        return len(set(self.results.complete["seed"]))

    @property
    def num_examples(self) -> int:
        """The number of validation examples that complete trials answered."""
        return len(self.results.scores.example_ids) if len(self.results.complete) else 0

    @property
    def num_samples(self) -> int:
        """The largest number of answers that a trial gave to an example."""
        return int(self.results.scores.num_samples.max()) if len(self.results.complete) else 0

    @property
    def smallest_detectable(self) -> float | None:
        """The difference that each of the comparisons would have detected.

        A share cannot rise above 1 or fall below 0. Comparisons that would have detected only a
        larger change of the baseline are left out; None if none is left.
        """
        found = (one.smallest_detectable for one in self.primary)
        return max((size for size in found if size <= self._largest_change), default=None)

    @property
    def _largest_change(self) -> float:
        """The largest possible change of the baseline's mean."""
        baseline = self.results.baseline
        level = None if baseline is None else self.found.level(self.metric, baseline)
        if level is None or not METRICS[self.metric].is_share:
            return math.inf
        return max(level.value, 1 - level.value)

    @property
    def open_question(self) -> Comparison | None:
        """The largest gain that was not detected."""
        undecided = [one for one in self.primary if not one.detectable and one.gain != 0]
        return max(undecided, key=lambda one: one.gain, default=None)

    @property
    def of_best(self) -> Comparison | None:
        """The best setting's comparison with the baseline, None if it is the baseline."""
        return next((one for one in self.primary if one.setting == self.best), None)

    @cached_property
    def costs(self) -> dict[int, float]:
        """Seconds per trial of each measured setting."""
        return setting_costs(self.results)

    @property
    def decodes_only(self) -> bool:
        """Whether the settings share their students, so that they cost no training of their own."""
        return decodes_only(self.results)

    @property
    def has_tradeoff(self) -> bool:
        """Whether to weigh quality against cost; for data sizes, the scaling law says more."""
        if not self.primary or self.scaling is not None:
            return False
        return len(self.costs) > 1 and costs_vary(self.results)

    @cached_property
    def equally_good(self) -> list[int]:
        return equally_good(self.results, self.found)

    @cached_property
    def scaling(self) -> Scaling | None:
        """The law of the study's metric and data size, None unless only the data size varies."""
        varied = self.results.study.varied_fields()
        if not varied <= {"data.train_fraction", "data.num_train"}:
            return None
        return scaling(self.results, self.found)

    @cached_property
    def good_range(self) -> GoodRange | None:
        return good_range(self.results, self.found)

    @cached_property
    def censored(self) -> list[Censored]:
        return censored(self.results, self.found)

    @cached_property
    def tradeoffs(self) -> list[Tradeoff]:
        return tradeoffs(self.results, self.found)


def judge(results: StudyResults) -> Verdict:
    """Return the verdict on a study."""
    found = compare(results)
    primary = found.of(results.study.metric.name)
    outcome = _outcome(primary)
    recommended, cheaper = _recommended(results, found, primary)
    return Verdict(results, found, outcome, recommended, cheaper, _left_out(results, found))


def _outcome(primary: list[Comparison]) -> Outcome:
    if not primary:
        return "cannot tell"
    if any(one.better for one in primary):
        return "better"
    return "worse" if any(one.worse for one in primary) else "no difference detected"


def _recommended(
    results: StudyResults, found: Comparisons, primary: list[Comparison]
) -> tuple[int | None, Comparison | None]:
    """Return the setting to use, and a cheaper one if that is the baseline.

    It is the baseline unless a setting is detectably better; of equally good ones, the cheapest.
    """
    costs = setting_costs(results) if costs_vary(results) else {}
    better = {one.setting: one for one in primary if one.better}
    if better:
        as_good = [setting for setting in equally_good(results, found) if setting in better]
        # The best mean may be due to noise, while a better-measured setting is detectably better.
        candidates = as_good or sorted(better, key=lambda setting: -better[setting].gain)
        if not costs:
            return candidates[0], None
        least = min(costs[setting] for setting in candidates)
        return next(one for one in candidates if costs[one] <= least * SAME_COST), None
    if results.baseline is None or not costs:
        return results.baseline, None
    limit = costs[results.baseline] * _CHEAPER
    # Worse in any metric: a setting that keeps the label may lose the explanation.
    worse = {one.setting for one in found.with_baseline if one.worse}
    savers = [
        one
        for one in primary
        if one.setting not in worse and costs[one.setting] <= limit and _nearly_as_good(found, one)
    ]
    return results.baseline, min(savers, key=lambda one: costs[one.setting], default=None)


def _nearly_as_good(found: Comparisons, one: Comparison) -> bool:
    """Return whether the interval rules out that the setting is much worse than the baseline."""
    level = found.level(one.metric, one.reference)
    assert level is not None
    unit = level.value if METRICS[one.metric].lower_is_better else 1.0
    ends = (one.estimate.low, one.estimate.high)
    return min(improvement(one.metric, end) for end in ends) > -_TOLERATED * unit


def _left_out(results: StudyResults, found: Comparisons) -> list[LeftOut]:
    """Return every setting that was not compared, so that none is lost silently."""
    measured = set(results.measured())
    left = [
        LeftOut(setting, _state_reason(results, setting))
        for setting in range(len(results.settings))
        if setting not in measured
    ]
    return left + [LeftOut(setting, reason) for setting, reason in found.not_compared.items()]


def _state_reason(results: StudyResults, setting: int) -> str:
    trials = results.trials[results.trials["setting"] == setting]
    failed = trials[trials["state"] == "failed"]
    if len(failed):
        return f"failed: {failed['error'].iloc[0]}"
    return "pruned before the end"
