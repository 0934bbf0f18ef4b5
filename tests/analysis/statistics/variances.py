"""What tests ask of an inferred variance."""

from __future__ import annotations

import numpy as np

from tune_distill.analysis.statistics.seed_noise import SeedVariance


def median(found: SeedVariance | None) -> float:
    """Return the variance's median; it must be known."""
    assert found is not None
    order = np.argsort(found.values_M)
    place = np.searchsorted(np.cumsum(found.weights_M[order]), 0.5)
    return float(found.values_M[order][place])
