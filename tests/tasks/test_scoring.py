"""Each answer becomes a row of scores, and the rows become a trial's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.nli import NLI
from tune_distill.records.examples import Example
from tune_distill.tasks.answers import ExampleLoss
from tune_distill.tasks.scoring import score_answers, summarize
from tune_distill.tasks.simulator import Simulator

EXAMPLE = Example(
    example_id="e1",
    inputs=("A man plays the guitar.", "A person is playing."),
    label="entailment",
    explanations=("a man is a person", "playing the guitar is playing"),
)
OTHER = replace(EXAMPLE, example_id="e2", label="neutral", explanations=("he may sit",))
LOSS, OTHER_LOSS = ExampleLoss(3.0, 2), ExampleLoss(2.0, 8)


def simulator() -> Simulator:
    """Return a simulator: texts with "may" are neutral, all others entailment."""
    weights = np.array([[0.0, 2.0]])
    return Simulator(("entailment", "neutral"), {"may": 0}, weights, np.array([1.0, 0.0]))


def scored(text: str) -> Mapping[str, Any]:
    """Return the row of one answer to EXAMPLE."""
    (row,) = score_answers(NLI, [EXAMPLE], [[text]], [LOSS], simulator())
    return row


def row(**changes: object) -> Mapping[str, Any]:
    return {**scored(""), **changes}


def test_a_row_holds_the_scores_of_one_text():
    text = "entailment explanation: playing the guitar is playing"
    assert scored(text) == {
        "example_id": EXAMPLE.digest().hex(),
        "sample": 0,
        "gold_label": "entailment",
        "predicted_label": "entailment",
        "correct": True,
        "prediction": text,
        "explanation": "playing the guitar is playing",
        "rouge1": 1.0,
        "rouge2": 1.0,
        "rougeL": 1.0,
        "faithful": True,
        "grounding": 1.0,
        "eval_loss": 1.5,
        "num_target_tokens": 2,
    }


def test_rows_come_by_example_and_then_by_sample():
    rows = score_answers(
        NLI,
        [EXAMPLE, OTHER],
        [["entailment", "neutral"], ["neutral"]],
        [LOSS, OTHER_LOSS],
        simulator(),
    )
    first, second = EXAMPLE.digest().hex(), OTHER.digest().hex()
    assert [(r["example_id"], r["sample"], r["prediction"], r["correct"]) for r in rows] == [
        (first, 0, "entailment", True),
        (first, 1, "neutral", False),
        (second, 0, "neutral", True),
    ]
    # Each sample of an example repeats the loss of its target.
    assert [(r["eval_loss"], r["num_target_tokens"]) for r in rows] == [
        (1.5, 2),
        (1.5, 2),
        (0.25, 8),
    ]


def test_every_example_needs_its_predictions_and_its_loss():
    with pytest.raises(ValueError, match="zip"):
        score_answers(NLI, [EXAMPLE, OTHER], [["entailment"]], [LOSS, OTHER_LOSS], simulator())
    with pytest.raises(ValueError, match="zip"):
        score_answers(NLI, [EXAMPLE, OTHER], [["entailment"], ["neutral"]], [LOSS], simulator())


@pytest.mark.parametrize(
    ("text", "faithful"),
    [
        ("neutral explanation: he may sit", True),  # wrong, but faithful
        ("entailment explanation: he may sit", False),
        ("entailment explanation: he sits", True),
        ("contradiction explanation: he sits", False),
        ("he explanation: he sits", False),  # it has no label
        ("entailment explanation:", False),  # the guess from an empty text agrees by chance
        ("entailment explanation: ...", False),
        ("entailment he sits", False),
    ],
)
def test_faithful_means_that_the_explanation_alone_gives_the_students_label(text, faithful):
    assert scored(text)["faithful"] is faithful


def test_an_unparsable_output_is_wrong():
    odd = scored("It is entailment explanation: a man")
    assert (odd["predicted_label"], odd["correct"], odd["explanation"]) == (None, False, "a man")
    # The explanation is scored anyway: both of its words are among the first reference's five.
    assert odd["rouge1"] == pytest.approx(4 / 7)


def test_the_summary_is_the_mean_over_rows():
    rows = [
        row(predicted_label="neutral", correct=True, faithful=True, grounding=0.5, rouge1=1.0),
        row(predicted_label="neutral", correct=False, faithful=True, grounding=None, rouge1=0.5),
        row(predicted_label="neutral", correct=False, faithful=False, grounding=0.0, rouge2=0.4),
        row(predicted_label=None, correct=False, faithful=False, grounding=0.1, rougeL=0.2),
    ]
    assert summarize(rows) == pytest.approx(
        {
            "label_accuracy": 0.25,
            "parse_rate": 0.75,
            "rouge1": 0.375,
            "rouge2": 0.1,
            "rougeL": 0.05,
            "faithfulness": 0.5,
            "grounding": 0.2,  # the mean of three rows, because the second has none
        }
    )


def test_mean_grounding_is_absent_where_no_row_has_one():
    summary = summarize([row(grounding=None), row(grounding=None)])
    assert summary["grounding"] is None
    assert summary["faithfulness"] == 0.0


def test_a_simulator_that_knows_no_word_judges_nothing():
    blind = Simulator(("entailment", "neutral"), {}, np.zeros((0, 2)), np.zeros(2))
    rows = score_answers(NLI, [EXAMPLE], [["entailment explanation: a man"]], [LOSS], blind)
    assert rows[0]["faithful"] is None
    assert summarize(rows)["faithfulness"] is None


def test_without_a_simulator_no_answer_is_faithful_or_unfaithful():
    (odd,) = score_answers(NLI, [EXAMPLE], [["entailment explanation: a man"]], [LOSS], None)
    assert odd["faithful"] is None
    assert odd["correct"]


def test_means_leave_out_rows_without_a_value():
    rows = [row(rougeL=None, rouge1=0.5), row(rougeL=0.5, rouge1=None)]
    assert summarize(rows)["rougeL"] == summarize(rows)["rouge1"] == 0.5
    assert summarize([row(rouge2=None)])["rouge2"] is None
