"""Tables and studies follow the declarations of metrics."""

from __future__ import annotations

import pytest

from tests.records.made import study_of
from tune_distill.records.schemas import PREDICTIONS, TRIALS_AFTER_SETTING
from tune_distill.spec.metrics import IN_STEPS, JUDGED, METRICS, metric_columns

TRIALS_COLUMNS = {column.name: (column.meaning, column.null) for column in TRIALS_AFTER_SETTING}
ANSWER_COLUMNS = {column.name for column in PREDICTIONS}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_declares_its_columns_and_words(metric):
    assert TRIALS_COLUMNS[metric.name] == (metric.meaning, metric.null)
    assert metric.label
    assert metric.unit
    assert {metric.answer_column, metric.weight_column} - {None} <= ANSWER_COLUMNS
    if metric.ceiling:
        assert TRIALS_COLUMNS[f"{metric.name}_ceiling"] == (metric.ceiling, metric.null)


@pytest.mark.parametrize("name", JUDGED)
def test_a_study_may_be_judged_by_each_metric_of_answers(name):
    mode = "min" if METRICS[name].lower_is_better else "max"
    assert study_of({"train.num_epochs": [1, 2]}, metric={"name": name, "mode": mode})


def test_the_order_of_columns_is_that_of_earlier_tables():
    assert list(metric_columns()) == [
        *("label_accuracy", "parse_rate", "rouge1", "rouge2", "rougeL", "faithfulness"),
        *("faithfulness_ceiling", "grounding", "bertscore", "eval_loss"),
    ]
    assert [column.name for column in TRIALS_AFTER_SETTING][:10] == list(metric_columns())
    assert IN_STEPS == ("eval_loss",)
