"""Every metric's values have its column's type and are within bounds, and it has their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nli import NLI, pair
from tests.records.made import trials_of
from tune_distill.records.schemas import SCORED
from tune_distill.spec.metrics import JUDGED, METRICS, metric_versions
from tune_distill.tasks.answers import ExampleLoss
from tune_distill.tasks.scoring import score_answers, summarize
from tune_distill.tasks.simulator import Simulator

TYPES = {column.name: column.type for column in SCORED}
SIMULATOR = Simulator(
    ("entailment", "neutral"), {"may": 0}, np.array([[0.0, 2.0]]), np.array([1.0, 0.0])
)
TEXTS = st.one_of(
    st.text(max_size=40), st.text(max_size=40).map(lambda text: f"neutral explanation: {text}")
)


def rows(texts: list[str], simulator: Simulator | None = SIMULATOR) -> list[Any]:
    """Return the rows of these answers to one example."""
    example = pair("e1", "A man plays.", "A person may play.", "neutral", ("he may sit", "it is"))
    return score_answers(NLI, [example], [texts], [ExampleLoss(3.0, 2)], simulator)


@pytest.mark.parametrize("name", JUDGED)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), knows=st.booleans())
@settings(max_examples=50, deadline=None)
def test_every_answer_has_a_value_or_none(name: str, texts: list[str], knows: bool) -> None:
    metric = METRICS[name]
    column = metric.answer_column
    assert column
    scored = rows(texts, SIMULATOR if knows else None)
    values = [row[column] for row in scored]
    assert pa.array(values, TYPES[column]).to_pylist() == values
    again = rows(texts, SIMULATOR if knows else None)
    assert values == [row[column] for row in again]
    if metric.is_share and not metric.counts_present:
        assert all(0.0 <= value <= 1.0 for value in values if value is not None)
    if not metric.in_steps:
        mean = summarize(scored)[name]
        assert mean is None or not metric.is_share or 0.0 <= mean <= 1.0


@pytest.mark.parametrize("name", JUDGED)
def test_an_empty_answer_is_scored(name: str) -> None:
    (row,) = rows([""])
    assert METRICS[name].answer_column in row


def test_the_key_of_an_evaluation_names_each_versioned_metric() -> None:
    identity = trials_of("smoothing")[0].evaluation_identity
    assert identity["metrics"].items() >= metric_versions().items()
