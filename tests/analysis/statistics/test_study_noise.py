"""The seed noise of a study's settings: with students of their own, and with shared ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from tests.analysis.planted import Plant, plant, simulated
from tests.analysis.statistics.variances import median
from tune_distill.analysis.results import StudyResults, read_results
from tune_distill.analysis.statistics.seed_noise import Observed, SeedNoise, SeedVariance
from tune_distill.analysis.statistics.study_noise import StudyNoise

METRIC = "label_accuracy"
OWN = Plant(accuracy=(0.7, 0.7, 0.7), num_examples=300, seed_sd=0.05)
SHARED = Plant(
    study="decoding",
    accuracy=(0.7,) * 6,
    groups=(0, 1, 1, 1, 1, 1),
    num_examples=2000,
    seed_sd=0.05,
)
"""A seed moves five settings together, and the baseline alone."""


def drawn(what: Plant, seed: int = 0) -> StudyResults:
    [results] = simulated(what, [seed])
    return results


def values_of(results: StudyResults, setting: int) -> Any:
    """Return the answers (R, E) of a setting."""
    return results.scores.values[METRIC][sorted(results.trials_of(setting).values())]


def mean(found: SeedVariance | None) -> float:
    assert found is not None
    return float(found.values_M @ found.weights_M)


def residual(values_RE: Any) -> float:
    """Return the residual mean square of the two-way analysis of variance, from statsmodels."""
    rows = [(str(r), str(e), y) for (r, e), y in np.ndenumerate(values_RE[:, :60])]
    return float(
        ols("y ~ C(r) + C(e)", pd.DataFrame(rows, columns=["r", "e", "y"])).fit().mse_resid
    )


def test_settings_with_students_of_their_own_are_independent() -> None:
    results = drawn(replace(OWN, num_examples=60))
    observed = {}
    for setting in range(3):
        values_RE = values_of(results, setting)
        noise = residual(values_RE) / 60
        observed[setting] = Observed(float(values_RE.mean(1).var(ddof=1)), 2, noise)
    expected, found = SeedNoise(observed), StudyNoise(results)
    assert mean(found.of(METRIC, 0)) == pytest.approx(mean(expected.of(0)))
    assert mean(found.of_difference(METRIC, 2, 1)) == pytest.approx(
        mean(expected.of_difference(2, 1))
    )


def test_settings_that_share_students_do_not_count_what_moves_all_of_them() -> None:
    """Two of the five move together, so their difference varies less between seeds."""
    together, alone = [], []
    for seed in range(20):
        found = StudyNoise(drawn(SHARED, seed))
        for setting, kept in ((2, together), (0, alone)):
            kept.append(median(found.of_difference(METRIC, setting, 1)))
    # The true variance of the baseline's difference from the others is twice 0.05 squared.
    assert np.median(alone) > 4 * np.median(together)
    assert np.median(alone) == pytest.approx(2 * 0.05**2, rel=0.6)


def test_two_settings_that_share_students_have_the_noise_of_their_difference() -> None:
    results = drawn(SHARED)
    chosen = results.complete["setting"].isin([0, 1])
    two = replace(results, settings=results.settings[:2], trials=results.trials[chosen])
    rows = np.flatnonzero(chosen)
    scores = results.scores
    two.__dict__["scores"] = replace(
        scores,
        trial_ids=[scores.trial_ids[row] for row in rows],
        values={METRIC: scores.values[METRIC][rows]},
        num_samples=scores.num_samples[rows],
    )
    differences_RE = values_of(two, 0) - values_of(two, 1)
    # Half of the degrees of freedom, and of the variance, for each of the two.
    halves = Observed(
        float(differences_RE.mean(1).var(ddof=1)) / 2, 1.0, residual(differences_RE) / 2 / 2000
    )
    expected = SeedNoise({0: halves, 1: halves})
    assert mean(StudyNoise(two).of_difference(METRIC, 0, 1)) == pytest.approx(
        mean(expected.of_difference(0, 1)), rel=0.1
    )


def test_one_seed_shows_no_noise() -> None:
    for what in (OWN, SHARED):
        found = StudyNoise(drawn(replace(what, num_seeds=1)))
        assert found.of(METRIC, 0) is None
        assert found.of_difference(METRIC, 0, 1) is None


def test_a_setting_with_one_seed_takes_the_noise_of_the_others(tmp_path: Path) -> None:
    states = {(0, 1): "failed", (0, 2): "pruned"}
    for what in (replace(OWN, states=states), replace(SHARED, num_examples=50, states=states)):
        found = StudyNoise(read_results(plant(tmp_path, what)))
        assert mean(found.of(METRIC, 0)) > mean(found.of(METRIC, 1)) / 3
        assert found.of_difference(METRIC, 0, 1) is not None
