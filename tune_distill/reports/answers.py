"""Example answers in a report: right, wrong, and unfaithful."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict import Verdict
from tune_distill.reports.page import Block, ExampleBlock, Heading, Paragraph

_NUM_EXAMPLES = 3


def example_blocks(verdict: Verdict) -> Iterator[Block]:
    """Yield examples of the best setting's answers: right, wrong and unfaithful ones."""
    if verdict.best is None:
        return
    results = verdict.results
    [(seed, row), *_] = sorted(results.trials_of(verdict.best).items())
    answers = _answers(verdict, results.complete["trial_id"][row])
    # `faithful` is null if the simulator could judge nothing.
    unfaithful = answers["faithful"].eq(False)
    kinds = {
        "Right": answers[answers["correct"] & ~unfaithful],
        "Wrong": answers[~answers["correct"]],
        "Unfaithful": answers[unfaithful & answers["predicted_label"].notna()],
    }
    yield Heading("Examples")
    yield Paragraph(
        f"Answers of the best setting, {results.text(verdict.best)}, with seed {seed}. Unfaithful: "
        "from the explanation alone the simulator guesses another label than the student's."
    )
    if not (results.folder / "examples.parquet").is_file():
        yield Paragraph(
            "Their texts are not known: the folder has no examples.parquet. Run the study again to "
            "have it."
        )
    for kind, chosen in kinds.items():
        yield Heading(f"{kind}: {len(chosen):,} of {len(answers):,}", 3)
        for answer in chosen.head(_NUM_EXAMPLES).to_dict("records"):
            named = {str(name): value for name, value in answer.items()}
            yield _example(named, results.task.inputs)


def _answers(verdict: Verdict, trial_id: str) -> pd.DataFrame:
    """Return a trial's first answer to each example, with the input texts if they are known."""
    folder, inputs = verdict.results.folder, verdict.results.task.inputs
    table = pq.read_table(folder / "predictions.parquet", filters=[("trial_id", "=", trial_id)])
    answers: pd.DataFrame = table.to_pandas()
    answers = answers[answers["sample"] == 0]
    if not (folder / "examples.parquet").is_file():
        return answers
    examples = load(folder.name, results=folder.parent, table="examples")
    texts = examples[["example_id", *inputs]]
    return answers.merge(texts, on="example_id", how="left").fillna(dict.fromkeys(inputs, ""))


def _example(answer: dict[str, Any], inputs: Sequence[str]) -> ExampleBlock:
    shown = {name: name.replace("_", " ") for name in (*inputs, "gold_label")}
    fields = [
        (name, str(answer[column]))
        for column, name in {**shown, "prediction": "answer"}.items()
        if answer.get(column)
    ]
    tags = ["right" if answer["correct"] else "wrong"]
    if pd.notna(answer["faithful"]):
        tags.append("faithful" if answer["faithful"] else "unfaithful")
    if pd.notna(answer["rougeL"]):
        tags.append(f"ROUGE-L {answer['rougeL']:.2f}")
    return ExampleBlock(str(answer["example_id"]), tuple(fields), tuple(tags))
