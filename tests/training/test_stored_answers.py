"""Stored answers belong to examples: the data's order, ids, folder and format do not matter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.nli import read_source
from tests.records.made import LocalStore
from tests.tiny import mini_examples, trial_of, write_csv
from tune_distill.records.examples import Example
from tune_distill.records.trials import complete_record, write_study_tables
from tune_distill.spec.plan import Trial
from tune_distill.spec.profile import Profile
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

TRAIN = mini_examples("train", 24)
# The first two are repeated.
VALIDATION = [*mini_examples("validation", 8), *mini_examples("validation", 2)]


def write_jsonl(path: Path, examples: Sequence[Example]) -> None:
    """Write the examples in the hub's columns, without ids."""
    names = ("explanation_1", "explanation_2", "explanation_3")
    rows = [
        {"premise": e.inputs[0], "hypothesis": e.inputs[1], "label": e.label}
        | dict(zip(names, e.explanations, strict=True))
        for e in examples
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return a folder, and one of the same rows in another order and format, with other ids."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    write_csv(first / "train.csv", TRAIN)
    write_csv(first / "validation.csv", VALIDATION)
    write_jsonl(second / "train.jsonl", TRAIN[::-1])
    write_jsonl(second / "validation.jsonl", VALIDATION[3:] + VALIDATION[:3])
    return str(first), str(second)


def run(source: str, store: LocalStore) -> tuple[Trial, Inputs, bool]:
    """Run a small trial on the source; the last value says whether it was trained."""
    profile = Profile.model_validate(
        {
            "student": {"source": "mini"},
            "data": {"source": source},
            "train": {"num_epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
            "decode": {"strategy": "sample", "num_samples": 2, "max_new_tokens": 8},
        }
    )
    inputs = Inputs()
    inputs.prepare([profile], store)
    trial = trial_of(profile, inputs)
    return trial, inputs, list(run_trial(trial, inputs, store))[-1].trained


def tables(source: str, store: LocalStore, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the predictions and examples of a study of one trial."""
    trial, inputs, _ = run(source, store)
    write_study_tables(folder, "one", [complete_record(trial, store, False)], store, inputs)
    return (
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_parquet(folder / "examples.parquet"),
    )


def test_the_same_rows_in_another_order_give_a_fresh_stores_tables(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    first, second = folders
    used, fresh = LocalStore(tmp_path / "used"), LocalStore(tmp_path / "fresh")
    assert run(first, used)[2]
    assert not run(second, used)[2]
    found, expected = (
        tables(second, store, tmp_path / store.root.name / "results") for store in (used, fresh)
    )
    for ours, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


@pytest.mark.parametrize("number", [0, 1])
def test_each_answer_stands_beside_its_own_example(
    folders: tuple[str, str], tmp_path: Path, number: int
) -> None:
    store = LocalStore(tmp_path / "store")
    run(folders[0], store)
    source = folders[number]
    answers, examples = tables(source, store, tmp_path / "results")
    mine = {example.example_id: example for example in read_source(source).validation}
    assert set(answers["example_id"]) == set(examples["example_id"]) == set(mine)
    for row in answers.itertuples():
        assert row.gold_label == mine[row.example_id].label
    for row in examples.itertuples():
        example = mine[row.example_id]
        assert (row.premise, row.hypothesis) == example.inputs
    # The loss is that of the example's own target, so equal examples have equal losses.
    losses = answers.merge(examples, on="example_id").groupby(["premise", "hypothesis"])
    assert losses["eval_loss"].nunique().eq(1).all()
    assert answers["eval_loss"].nunique() == len(VALIDATION) - 2


def test_the_store_knows_no_ids_of_users(folders: tuple[str, str], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    trial, _, _ = run(folders[0], store)
    stored = pd.read_parquet(store.predictions_path(trial.evaluation_key))
    digests = {example.digest().hex() for example in VALIDATION}
    twice = {f"{example.digest().hex()}-2" for example in VALIDATION[:2]}
    assert set(stored["example_id"]) == digests | twice
