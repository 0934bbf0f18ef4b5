"""The seeds and examples for which two settings both have a metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tune_distill.analysis.results import StudyResults

Real = NDArray[np.float64]


@dataclass(frozen=True)
class Shared:
    """R trials of a setting, R of its reference with the same seeds, and E examples.

    `values_RE` are the setting's values less the reference's. Without a reference, `theirs` equals
    `ours`, and the values are the setting's own.
    """

    ours: list[int]
    theirs: list[int]
    examples: NDArray[np.intp]
    values_RE: Real


def shared(
    results: StudyResults, metric: str, setting: int, reference: int | None = None
) -> Shared | None:
    """Return the trials and examples with the metric in both settings, None if there are none."""
    values_TE, first = results.scores.values[metric], results.trials_of(setting)
    second = first if reference is None else results.trials_of(reference)
    seeds = sorted(first.keys() & second.keys())
    ours, theirs = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    values_RE = values_TE[ours]
    if reference is not None:
        values_RE = values_RE - values_TE[theirs]
    absent_RE = np.isnan(values_RE)
    # A trial may lack a metric altogether, such as the loss of an older evaluation.
    kept = np.flatnonzero(~absent_RE.all(axis=1))
    examples = np.flatnonzero(~absent_RE[kept].any(axis=0))
    if not len(kept) or not len(examples):
        return None
    return Shared(
        [ours[row] for row in kept],
        [theirs[row] for row in kept],
        examples,
        values_RE[np.ix_(kept, examples)],
    )


def same_runs(results: StudyResults, setting: int, reference: int) -> bool:
    """Return whether two settings decode the same students with every seed that they share."""
    ours, theirs = results.trials_of(setting), results.trials_of(reference)
    keys = results.run_keys
    return all(keys[ours[seed]] == keys[theirs[seed]] for seed in ours.keys() & theirs.keys())
