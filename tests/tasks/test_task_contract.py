"""The contract of tasks, for the shipped ones and one of each kind that a user may describe."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.made_tasks import (
    CHOICES,
    FREE,
    SUMS,
    TWO_LABELS,
    examples_of,
    write_rows,
    write_task,
)
from tune_distill.records.tables import write_examples
from tune_distill.spec.metrics import METRICS
from tune_distill.tasks.registry import TASKS, task_of
from tune_distill.tasks.sources import read_source
from tune_distill.tasks.task import SPLITS, ParsedOutput, Task, metrics_of

ALL = {name: task_of(name) for name in TASKS} | {
    task.description.name: task for task in (FREE, TWO_LABELS, CHOICES, SUMS)
}


FIRST = {name: examples_of(task)[0] for name, task in ALL.items()}


@pytest.fixture(params=list(ALL))
def task(request: pytest.FixtureRequest) -> Task:
    return ALL[request.param]


@pytest.mark.parametrize("name", TASKS)
def test_a_shipped_task_is_called_as_it_is_named(name: str) -> None:
    assert task_of(name).description.name == name


def test_a_target_is_read_back_as_its_label_and_first_explanation(task: Task) -> None:
    for example in examples_of(task):
        parsed = task.parse(task.target_text(example), example)
        assert parsed == ParsedOutput(example.label, example.explanations[0])


@given(st.sampled_from(list(ALL)), st.text())
def test_any_explanation_is_read_back_without_the_space_around_it(name: str, text: str) -> None:
    task = ALL[name]
    example = replace(FIRST[name], explanations=(text,))
    parsed = task.parse(task.target_text(example), example)
    assert parsed == ParsedOutput(example.label, text.strip())


def test_every_possible_answer_is_parsed_and_only_the_gold_one_is_right(task: Task) -> None:
    for example in examples_of(task):
        possible = task.description.labels or example.choices or ("another answer",)
        for label in {*possible, example.label}:
            told = task.target_text(replace(example, label=label))
            for text in (told, told.upper(), f"  {told}"):
                found = task.parse(text, example).label
                assert found is not None
                assert (found == example.label) == (label == example.label)


def test_an_empty_output_gives_neither_label_nor_explanation(task: Task) -> None:
    assert task.parse("", examples_of(task)[0]) == ParsedOutput(None, "")


def test_the_source_shows_every_input_and_choice_but_not_the_answer(task: Task) -> None:
    for example in examples_of(task):
        source = task.source_text(example)
        for text in (*example.inputs, *example.choices):
            assert text in source
        other = replace(example, label="another", explanations=("why",))
        assert task.source_text(other) == source


def test_rows_in_every_layout_give_the_examples_back(task: Task, tmp_path: Path) -> None:
    examples = [replace(example, example_id="") for example in examples_of(task)]
    for layout in range(len(task.description.columns)):
        raw = read_source(write_rows(tmp_path, task, examples, layout), task)
        for split in (raw.train, raw.validation):
            assert [replace(example, example_id="") for example in split] == examples


def test_the_built_in_corpus_is_the_tasks_own_and_always_the_same(task: Task) -> None:
    for split in SPLITS if task.corpus is not None else ():
        assert task.corpus is not None
        examples = task.corpus(split)
        assert examples == task.corpus(split)
        assert {len(example.inputs) for example in examples} == {len(task.description.inputs)}
        assert {example.label for example in examples} == set(task.description.labels or ())


def test_a_task_travels_to_workers_and_into_results(task: Task, tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(task))
    assert sent.identity() == task.identity()
    # Only the description is stored beside the tables, without code.
    written = task_of(write_task(tmp_path, task))
    for other in (sent, written):
        assert other.description == task.description
        for example in examples_of(task):
            assert other.source_text(example) == task.source_text(example)
            assert other.target_text(example) == task.target_text(example)


def test_a_number_is_right_however_a_task_s_own_code_reads_it() -> None:
    example = replace(examples_of(SUMS)[0], label="72")
    found = [SUMS.parse(f"{text} because it is", example).label for text in ("72.0", "7.2", "many")]
    assert found == ["72", "7.2", "many"]
    assert SUMS.identity() != FREE.identity()


def test_examples_have_a_column_for_each_input(task: Task, tmp_path: Path) -> None:
    write_examples(tmp_path, task.description, examples_of(task))
    frame = pd.read_parquet(tmp_path / "examples.parquet")
    choices = ["choices"] if task.description.has_choices else []
    inputs = task.description.inputs
    assert list(frame) == ["example_id", *inputs, *choices, "gold_label", "explanations"]
    for row, example in zip(frame[inputs].itertuples(index=False), examples_of(task), strict=True):
        assert tuple(row) == example.inputs


def test_its_metrics_are_declared_and_faithfulness_needs_labels(task: Task) -> None:
    found = metrics_of(task.description)
    assert set(found) <= METRICS.keys()
    assert {"label_accuracy", "rougeL", "eval_loss"} <= set(found)
    assert ("faithfulness" in found) == bool(task.description.labels)
