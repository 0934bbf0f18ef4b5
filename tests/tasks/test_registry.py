"""A task is found by its name or its file; an error explains why another cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.spec.fakes import faults
from tests.tasks.made_tasks import FREE, QUESTIONS, TWO_LABELS, made_task, write_rows, write_task
from tests.tiny import mini_examples
from tune_distill.records.examples import Example
from tune_distill.records.schemas import EXAMPLES_AFTER_INPUTS, EXAMPLES_BEFORE_INPUTS, PREDICTIONS
from tune_distill.spec import keys
from tune_distill.spec.errors import DataError, StudyFileError
from tune_distill.spec.task import RESERVED, TaskDescription
from tune_distill.tasks.described import DescribedTask
from tune_distill.tasks.registry import task_of
from tune_distill.tasks.sources import read_source


def test_keys_do_not_name_esnli_however_it_is_called() -> None:
    # The keys of all stored runs depend on this, so a change of the shipped task orphans the runs.
    for name in ("esnli", "mini-nli"):
        assert task_of(name).identity() == keys.ESNLI


def test_a_change_of_texts_or_labels_changes_what_depends_on_it() -> None:
    known = FREE.identity()
    for written in (made_task(source="{question}"), made_task(inputs=["q"], source="{q}")):
        assert written.identity().writing != known.writing
        assert written.identity().reading == known.reading
    assert TWO_LABELS.identity().writing == known.writing
    assert TWO_LABELS.identity().reading != known.reading
    other = made_task(marker="for").identity()
    assert (other.writing != known.writing, other.reading != known.reading) == (True, True)
    columns = [{"inputs": ["q"], "label": "a", "explanations": ["e"]}]
    assert made_task(name="other", columns=columns).identity() == known


def test_an_unknown_task_gets_the_nearest() -> None:
    with pytest.raises(StudyFileError, match=r"task file, got 'esnly'; did you mean 'esnli'\?"):
        task_of("esnly")


def test_all_faults_of_a_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ninputs: [question]\nsource: '{qestion}'\nmarkr: 'x'\n")
    with pytest.raises(StudyFileError) as caught:
        task_of(str(path))
    assert sorted(str(caught.value).splitlines()) == [
        f"{path}: columns: required, got nothing; add it",
        f"{path}: marker: required, got nothing; add it",
        f"{path}: markr: unknown key; did you mean 'marker'?",
        f"{path}: source: must hold {{question}} and no other names in braces, got '{{qestion}}'",
    ]


COLUMNS = QUESTIONS["columns"][0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": ["prediction"], "source": "{prediction}"}, "inputs: tables have a column"),
        ({"inputs": ["a", "a"], "source": "{a}"}, "inputs: names must differ, got a, a"),
        ({"labels": ["Yes", "yes"]}, "labels: must differ in more than capitals, got Yes, yes"),
        ({"labels": ["yes", " no"]}, "labels: must have no space around them, got ' no'"),
        ({"source": "{question"}, "source: must be a text with {input} for each input, got"),
        ({"source": "{question!r}"}, "source: must hold {question} and no other names"),
        ({"source": "{question:>9}"}, "source: must hold {question} and no other names"),
        ({"source": "{question.upper}"}, "source: must hold {question} and no other names"),
        ({"source": "answer"}, "source: must hold {question} and no other names"),
        ({"source": "{question} {choices}"}, "source: must hold {question} and no other names"),
        ({"marker": "  "}, "marker: must hold a word, got '  '"),
        (
            {"marker": "No", "labels": ["yes", "not"]},
            "marker: must not stand in a label, got 'No' in",
        ),
        ({"columns": [COLUMNS | {"inputs": []}]}, "columns.0.inputs: must name a column for each"),
        (
            {"columns": [COLUMNS, COLUMNS | {"choices": "c"}], "source": "{question} {choices}"},
            "columns: choices must be in all layouts, and only in a task without labels, got them "
            "in 1 of 2",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(changes: dict[str, Any], told: str) -> None:
    lines = faults(TaskDescription, QUESTIONS | changes)
    assert any(line.startswith(f"my.yaml: {told}") for line in lines), lines


def test_no_input_hides_a_column_of_the_tables() -> None:
    columns = (*PREDICTIONS, *EXAMPLES_BEFORE_INPUTS, *EXAMPLES_AFTER_INPUTS)
    assert {column.name for column in columns} <= RESERVED


def test_a_built_in_corpus_is_for_tasks_with_the_same_texts_and_labels() -> None:
    other = task_of("esnli").description.model_copy(update={"source": "{premise} {hypothesis}"})
    assert read_source("mini-nli", DescribedTask(other)).train[:9] == mini_examples("train", 9)
    with pytest.raises(DataError, match="mini-nli is for tasks with the inputs premise, hypo"):
        read_source("mini-nli", FREE)
    with pytest.raises(DataError, match=r"use a folder with train and validation files$"):
        read_source("./nothing", FREE)


def rows(tmp_path: Path, **changes: Any) -> tuple[list[Example], dict[str, int]]:
    """Return the examples read from one row of the two-label task, and why rows were dropped."""
    row = Example("", ("is it?",), "yes", ("it is",))
    source = write_rows(tmp_path, TWO_LABELS, [row])
    (tmp_path / "train.jsonl").write_text(
        (tmp_path / "train.jsonl").read_text()
        + "\n"
        + json.dumps({"question": "is it?", "answer": "yes", "why": "it is"} | changes)
    )
    raw = read_source(source, TWO_LABELS)
    return raw.train[1:], raw.dropped["train"]


@pytest.mark.parametrize(
    ("cell", "label"), [("NO", "no"), (1, "no"), (0.0, "yes"), ("1", "no"), ("1.0", "no")]
)
def test_labels_are_read_by_name_and_by_number(tmp_path: Path, cell: Any, label: str) -> None:
    (found,), dropped = rows(tmp_path, answer=cell)
    assert (found.label, dropped) == (label, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": None}, "no gold label"),
        ({"answer": -1}, "no gold label"),
        ({"question": " "}, "no question"),
        ({"why": ""}, "no explanation"),
    ],
)
def test_rows_that_teach_nothing_are_dropped(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert rows(tmp_path, **changes) == ([], {reason: 1})


@pytest.mark.parametrize("cell", ["-", "maybe", 2, True])
def test_another_label_is_an_error(tmp_path: Path, cell: Any) -> None:
    with pytest.raises(DataError, match="line 2: answer must be one of yes, no or 0, 1, got"):
        rows(tmp_path, answer=cell)


def test_an_answer_that_could_not_be_read_back_is_dropped(tmp_path: Path) -> None:
    examples = [Example("", ("why?",), answer, ("it is",)) for answer in ("72", "just BECAUSE")]
    raw = read_source(write_rows(tmp_path, FREE, examples), FREE)
    assert [example.label for example in raw.train] == ["72"]
    assert raw.dropped["train"] == {"marker in the answer": 1}


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    assert task_of(write_task(tmp_path, FREE)).description == FREE.description
