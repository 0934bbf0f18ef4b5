"""CONTRIBUTING.md's recipe, "Add a metric", followed in a copy of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

import tune_distill
from tests.guest import INLINE
from tests.recipes import python, recipe, register, repository_copy, run_tests

STEPS = {
    "tasks/scoring.py": [
        (
            '    """None where the explanation holds no content word."""\n',
            "    num_words: int\n",
        ),
        (
            "        eval_loss=loss.per_token,\n",
            "        num_words=len(parsed.explanation.split()),\n",
        ),
        (
            '        "grounding": _mean(row.grounding for row in rows),\n',
            '        "explanation_words": _mean(row.num_words for row in rows),\n',
        ),
    ],
    "records/schemas.py": [
        (
            '    Column("rougeL", _REAL, "ROUGE-L F1, likewise"),\n',
            '    Column("num_words", _WHOLE, "Words of the explanation"),\n',
        )
    ],
    "spec/metrics.py": [
        (
            '        absent="no explanation holds a content word",\n    ),\n',
            '    Metric("explanation_words", "explanation words", "words", "Its words, mean",\n'
            '        "num_words", is_share=False, form=".1f", is_charted=True),\n',
        )
    ],
    "analysis/results.py": [("_LATER_COLUMNS = (", '"explanation_words", ')],
}
"""The places that the recipe names: a line of each file, and what is added behind it."""


@pytest.mark.slow
def test_a_metric_reaches_tables_verdict_and_report(tmp_path: Path) -> None:
    steps = recipe("Add a metric")
    package = repository_copy(tmp_path)
    for name, additions in STEPS.items():
        assert f"`{name}" in steps
        for line, new in additions:
            register(package / name, line, new)
    assert "`EVALUATION_VERSION` in `spec/keys.py`" in steps
    register(package / "spec" / "keys.py", "EVALUATION_VERSION = ", "1 + ")
    study = tmp_path / "longer.yaml"
    study.write_text(
        "name: longer\nquestion: Which beam writes more?\n"
        "vary: {decode.strategy: [greedy, beam]}\nmetric: {name: explanation_words, mode: max}\n"
    )
    results = ["--results", str(tmp_path / "results")]
    shown = python(tmp_path, "-m", "tune_distill.study", str(study), *INLINE, *results)
    assert "explanation words" in shown
    trials = tune_distill.load("longer", results=tmp_path / "results")
    answers = tune_distill.load("longer", results=tmp_path / "results", table="predictions")
    counted = answers["explanation"].str.split().str.len()
    assert counted.tolist() == answers["num_words"].tolist()
    means = counted.groupby(answers["trial_id"]).mean()
    assert trials.set_index("trial_id")["explanation_words"].to_dict() == pytest.approx(
        means.to_dict()
    )
    assert "explanation words" in (tmp_path / "results" / "longer" / "report.md").read_text()
    run_tests(tmp_path, "tests/records/test_schemas.py", "meaning")
