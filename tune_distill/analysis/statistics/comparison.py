"""A setting's difference from a reference, and the comparisons of a whole study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.statistics.power import (
    examples_needed,
    seeds_needed,
    smallest_detectable,
)
from tune_distill.analysis.statistics.significance import ALPHA, holm
from tune_distill.spec.metrics import METRICS

Family = Literal["baseline", "best", "other metrics"]


@dataclass(frozen=True)
class Comparison:
    """A setting's metric less the reference's, on the examples and seeds that both have.

    `mcnemar` are the exact p-values of the single seeds, if answers are simply right or wrong. With
    one seed and no measured seed noise, that value is `p_value`. `num_compared` is the size of the
    family that `p_adjusted` is corrected for.
    """

    setting: int
    reference: int
    metric: str
    family: Family
    estimate: Estimate
    test: Literal["exact McNemar", "paired t"]
    p_value: float
    mcnemar: tuple[float, ...] = ()
    p_adjusted: float = 1.0
    num_compared: int = 1

    @property
    def detectable(self) -> bool:
        return self.p_adjusted < ALPHA

    @property
    def gain(self) -> float:
        """The difference, positive if the setting is better."""
        return improvement(self.metric, self.estimate.value)

    @property
    def better(self) -> bool:
        return self.detectable and self.gain > 0

    @property
    def worse(self) -> bool:
        return self.detectable and self.gain < 0

    @property
    def smallest_detectable(self) -> float:
        return smallest_detectable(self.estimate, self.num_compared)

    @property
    def examples_needed(self) -> int | None:
        return examples_needed(self.estimate, self.num_compared)

    @property
    def seeds_needed(self) -> int | None:
        return seeds_needed(self.estimate, self.num_compared)


@dataclass(frozen=True)
class Comparisons:
    """The means and comparisons of a study.

    `levels[metric][setting]` are the means with their intervals. `best` has the best mean of the
    study's metric, None if nothing was measured. `not_compared` says why a setting was not.
    """

    levels: dict[str, dict[int, Estimate]]
    best: int | None
    with_baseline: list[Comparison]
    with_best: list[Comparison]
    not_compared: dict[int, str]

    def of(self, metric: str) -> list[Comparison]:
        """Return the comparisons with the baseline in this metric."""
        return [one for one in self.with_baseline if one.metric == metric]

    def level(self, metric: str, setting: int) -> Estimate | None:
        return self.levels.get(metric, {}).get(setting)


def improvement(metric: str, difference: float) -> float:
    """Return the difference, positive if it is an improvement."""
    return -difference if METRICS[metric].lower_is_better else difference


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with Holm's correction within each family."""
    found: list[Any] = list(comparisons)
    for family in ("baseline", "best", "other metrics"):
        members = [i for i, one in enumerate(comparisons) if one.family == family]
        adjusted = holm([comparisons[index].p_value for index in members])
        for index, p_adjusted in zip(members, adjusted, strict=True):
            found[index] = replace(
                comparisons[index], p_adjusted=p_adjusted, num_compared=len(members)
            )
    return found
