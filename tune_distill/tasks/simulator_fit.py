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
"""An n-gram that fewer training explanations hold is no feature; three in four are such."""

INVERSE_REGULARISATION = 1.0
"""scikit-learn's C. From 1 to 10 the accuracy moves by 0.002, less than it does between samples."""


def fit_simulator(explanations: Sequence[str], labels: Sequence[str]) -> Simulator:
    """The simulator fitted on gold explanations; deterministic.

    It is blind where no word is in `MIN_EXPLANATIONS` explanations.

    Raises:
        ValueError: fewer than two labels.
    """
    require_labels(labels)
    vectorizer = CountVectorizer(analyzer=ngrams, binary=True, min_df=MIN_EXPLANATIONS)
    try:
        features = vectorizer.fit_transform(explanations)
    except ValueError:
        # What scikit-learn says of an empty vocabulary.
        return _blind(sorted(set(labels)))
    # One thread: sums then have one order, and on a shared machine it is many times faster.
    with threadpool_limits(limits=1):
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
        model.fit(features, list(labels))
    weights, intercept = _per_label(model.coef_, model.intercept_)
    return Simulator(
        labels=tuple(str(label) for label in model.classes_),
        vocabulary={str(gram): row for row, gram in enumerate(vectorizer.get_feature_names_out())},
        # safetensors writes the memory of a view as it lies; scikit-learn before 1.6 gives views.
        weights_VL=np.ascontiguousarray(weights.T),
        intercept_L=np.ascontiguousarray(intercept),
    )


def _blind(labels: list[str]) -> Simulator:
    return Simulator(tuple(labels), {}, np.zeros((0, len(labels))), np.zeros(len(labels)))


def _per_label(
    coef: NDArray[np.float64], intercept: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row per label: for two labels scikit-learn keeps the second's alone, against zero."""
    if len(coef) == 1:
        return np.vstack([np.zeros_like(coef), coef]), np.append(np.zeros(1), intercept)
    return coef, intercept


if __name__ == "__main__":
    sys.stdout.buffer.write(fit_simulator(*json.load(sys.stdin)).to_bytes(FITTED))
