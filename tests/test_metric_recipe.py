"""CONTRIBUTING.md's recipe, "Add a metric", followed in a copy of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

import tune_distill
from tests.guest import INLINE
from tests.recipes import python, recipe, register, repository_copy, run_tests

METRIC = '''"""How long an explanation is."""

from __future__ import annotations

from tune_distill.tasks.answers import Answer


def num_words(answer: Answer) -> int:
    """Return how many words the explanation has."""
    return len(answer.explanation.split())
'''

ENTRY = """    Metric(
        "explanation_words",
        "explanation words",
        "words",
        "Words of an explanation, mean",
        AnswerColumn(
            "num_words",
            "Words of the explanation",
            "tune_distill.tasks.metrics.explanation_words:num_words",
            type="whole",
        ),
        is_share=False,
        form=".1f",
        is_charted=True,
    ),
"""


@pytest.mark.proof
def test_a_metric_reaches_tables_verdict_and_report(tmp_path: Path) -> None:
    steps = recipe("Add a metric")
    package = repository_copy(tmp_path)
    study = tmp_path / "longer.yaml"
    study.write_text(
        "name: longer\nquestion: Which beam writes more?\n"
        "vary: {decode.strategy: [greedy, beam]}\nmetric: {name: label_accuracy}\n"
    )
    results = ["--results", str(tmp_path / "results")]
    command = ["-m", "tune_distill.study", str(study), *INLINE, *results]
    python(tmp_path, *command)
    assert "`tasks/metrics/NAME.py`" in steps
    (package / "tasks" / "metrics" / "explanation_words.py").write_text(METRIC)
    assert "`spec/metrics.py`" in steps
    register(package / "spec" / "metrics.py", "_DECLARED = (\n", ENTRY)
    # Results of before the metric stay readable.
    assert "label accuracy" in python(tmp_path, "-m", "tune_distill.report", results[1])
    study.write_text(study.read_text().replace("label_accuracy", "explanation_words, mode: max"))
    shown = python(tmp_path, *command)
    assert "explanation words" in shown
    # The student is not trained again, but its stored answers lack the metric's values.
    assert "0 trainings" in shown
    trials = tune_distill.load("longer", results=tmp_path / "results")
    answers = tune_distill.load("longer", results=tmp_path / "results", table="predictions")
    counted = answers["explanation"].str.split().str.len()
    assert counted.tolist() == answers["num_words"].tolist()
    means = counted.groupby(answers["trial_id"]).mean()
    assert trials.set_index("trial_id")["explanation_words"].to_dict() == pytest.approx(
        means.to_dict()
    )
    assert "explanation words" in (tmp_path / "results" / "longer" / "report.md").read_text()
    run_tests(
        tmp_path,
        "tests/records/test_schemas.py",
        "tests/tasks/metrics/test_metric_contract.py",
        which="meaning or explanation_words",
    )
