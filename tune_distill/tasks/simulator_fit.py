"""Fits the simulator with scikit-learn.

`python -m tune_distill.tasks.simulator_fit` reads explanations and labels as JSON, and writes the
simulator.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tune_distill.tasks.simulator import FITTED, Simulator, ngrams, require_labels

MIN_EXPLANATIONS = 2
"""An n-gram in fewer training explanations is not a feature; three in four n-grams are not."""

INVERSE_REGULARISATION = 1.0
"""scikit-learn's C. From 1 to 10 the accuracy changes by 0.002, less than between samples."""


def fit_simulator(explanations: Sequence[str], labels: Sequence[str]) -> Simulator:
    """Return the simulator fitted on gold explanations; deterministic.

    It is blind if no word is in `MIN_EXPLANATIONS` explanations.

    Raises:
        ValueError: there are fewer than two labels.
    """
    require_labels(labels)
    vectorizer = CountVectorizer(analyzer=ngrams, binary=True, min_df=MIN_EXPLANATIONS)
    try:
        features = vectorizer.fit_transform(explanations)
    except ValueError:
        # scikit-learn raises it for an empty vocabulary.
        return _blind(sorted(set(labels)))
    # With one thread, sums have one order, and on a shared machine it is many times faster.
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
        model.fit(features, list(labels))
    weights, intercept = _per_label(model.coef_, model.intercept_)
    return Simulator(
        labels=tuple(str(label) for label in model.classes_),
        vocabulary={str(gram): row for row, gram in enumerate(vectorizer.get_feature_names_out())},
        # safetensors writes a view's memory as it is laid out; scikit-learn < 1.6 returns views.
        weights_VL=np.ascontiguousarray(weights.T),
        intercept_L=np.ascontiguousarray(intercept),
    )


def _blind(labels: list[str]) -> Simulator:
    return Simulator(tuple(labels), {}, np.zeros((0, len(labels))), np.zeros(len(labels)))


def _per_label(
    coef: NDArray[np.float64], intercept: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one row per label: for two labels scikit-learn has only the second's, against zero."""
    if len(coef) == 1:
        return np.vstack([np.zeros_like(coef), coef]), np.append(np.zeros(1), intercept)
    return coef, intercept


if __name__ == "__main__":
    sys.stdout.buffer.write(fit_simulator(*json.load(sys.stdin)).to_bytes(FITTED))
