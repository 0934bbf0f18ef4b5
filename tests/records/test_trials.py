import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from tests.records.made import (
    CONTENT_IDS,
    INPUTS,
    METRICS,
    FakeInputs,
    LocalStore,
    evaluation_record,
    example,
    finish,
    finish_run,
    history,
    resolved,
    run_record,
    study_of,
    trials_of,
)
from tune_distill.records.examples import Example
from tune_distill.records.schemas import TRIALS_AFTER_SETTING, TRIALS_BEFORE_SETTING
from tune_distill.records.trials import (
    TrialRecord,
    complete_record,
    history_rows,
    stored_record,
    study_examples,
    trial_row,
    write_study_tables,
)
from tune_distill.spec.errors import StoreError
from tune_distill.spec.plan import make_plan
from tune_distill.spec.profile import Data, Task

TRIAL, PRUNED, FAILED = trials_of("smoothing")
ONLY_COMPLETE = [
    *METRICS,
    "decode_time_s",
    "examples_per_s",
    "source_truncated_fraction",
    "target_truncated_fraction",
]


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_complete_record_holds_what_the_store_has(store):
    finish(store, TRIAL)
    record = complete_record(TRIAL, store, reused=True)
    assert record == TrialRecord(
        TRIAL, "complete", True, None, run_record(TRIAL), evaluation_record(), history(None, 1.25)
    )
    assert complete_record(TRIAL, store, reused=False).reused is False


def test_losses_on_other_examples_are_left_out_of_the_history(store):
    finish(store, TRIAL)
    store.discard_run(TRIAL.run_key)
    finish_run(store, TRIAL, validation_digest="others")
    record = complete_record(TRIAL, store, reused=True)
    assert [row.eval_loss for row in record.history] == [None, None]
    kept = [(row.step, row.train_loss, row.elapsed_s) for row in history(None, 1.25)]
    assert [(row.step, row.train_loss, row.elapsed_s) for row in record.history] == kept
    # The evaluation measured the loss on the trial's own examples.
    assert trial_row("s", record)["eval_loss"] == evaluation_record().eval_loss


def test_a_stored_record_has_the_state_that_the_plan_found(store):
    finish(store, TRIAL)
    store.mark_pruned("search", PRUNED.run_key, history(3.0))
    plan = make_plan(resolved("smoothing"), "search", [TRIAL, PRUNED], store)
    assert stored_record(TRIAL, plan, store) == complete_record(TRIAL, store, reused=True)
    assert stored_record(PRUNED, plan, store) == TrialRecord(
        PRUNED, "pruned", True, history=history(3.0)
    )


@pytest.mark.parametrize("lost", ["run", "evaluation"])
def test_a_record_that_the_store_has_lost_is_refused(store, lost):
    finish(store, TRIAL)
    if lost == "run":
        store.discard_run(TRIAL.run_key)
    else:
        store.discard_evaluation(TRIAL.evaluation_key)
    with pytest.raises(StoreError, match=f"{TRIAL.trial_id}, .*run the command again"):
        complete_record(TRIAL, store, reused=True)


def test_the_row_of_a_complete_trial(store):
    finish(store, TRIAL)
    row = trial_row("smoothing", complete_record(TRIAL, store, reused=False))
    config = json.loads(row.pop("config"))
    assert config == TRIAL.profile.model_dump()
    assert row == {
        "study": "smoothing",
        "trial_id": "label_smoothing=0.0,seed=0",
        "state": "complete",
        "error": None,
        "seed": 0,
        "label_smoothing": 0.0,
        **METRICS,
        "eval_loss": 1.25,
        "final_train_loss": 1.5,
        "training_time_s": 1.0,
        "decode_time_s": 0.25,
        "examples_per_s": 300.0,
        "num_steps": 20,
        "num_train": 500,
        "num_validation": 200,
        "source_truncated_fraction": 0.0,
        "target_truncated_fraction": 0.1,
        "device": "cpu",
        "instruction_set": "AVX2",
        "precision": "fp32",
        "run_key": TRIAL.run_key,
        "evaluation_key": TRIAL.evaluation_key,
        "reused": False,
        "num_retries": 0,
    }


def test_a_pruned_trial_shows_how_far_it_came():
    rows = history(3.0, 2.0, None)
    row = trial_row("s", TrialRecord(PRUNED, "pruned", False, history=rows))
    assert (row["state"], row["num_steps"], row["training_time_s"]) == ("pruned", 30, 1.5)
    # The last eval loss that was measured, and the training loss of the last row.
    assert (row["eval_loss"], row["final_train_loss"]) == (2.0, 1.0)
    assert [row[name] for name in ONLY_COMPLETE] == [None] * len(ONLY_COMPLETE)
    assert (row["num_train"], row["num_validation"], row["label_smoothing"]) == (500, 200, 0.1)


def test_a_failed_trial_has_its_reason_and_no_numbers():
    row = trial_row("s", TrialRecord(FAILED, "failed", False, "out of memory"))
    assert (row["state"], row["error"]) == ("failed", "out of memory")
    empty = [*ONLY_COMPLETE, "eval_loss", "final_train_loss", "training_time_s", "num_steps"]
    assert [row[name] for name in empty] == [None] * len(empty)
    assert row["run_key"] == FAILED.run_key


def test_lost_workers_are_counted():
    record = TrialRecord(FAILED, "failed", False, "why", num_retries=3)
    assert trial_row("s", record)["num_retries"] == 3


def test_a_row_fills_every_column_and_no_other():
    names = {column.name for column in (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING)}
    row = trial_row("s", TrialRecord(FAILED, "failed", False, "why"))
    assert set(row) == names | {"label_smoothing"}


def test_history_has_a_row_for_each_report_of_each_trial():
    records = [
        TrialRecord(TRIAL, "pruned", False, history=history(3.0, 2.0)),
        TrialRecord(FAILED, "failed", False, "why"),
        TrialRecord(PRUNED, "pruned", False, history=history(4.0)),
    ]
    rows = list(history_rows(records))
    assert [(row["trial_id"], row["step"], row["eval_loss"]) for row in rows] == [
        (TRIAL.trial_id, 10, 3.0),
        (TRIAL.trial_id, 20, 2.0),
        (PRUNED.trial_id, 10, 4.0),
    ]


def test_every_planned_trial_is_a_row_of_the_tables(store, tmp_path):
    finish(store, TRIAL, num_predictions=3)
    records = [
        complete_record(TRIAL, store, reused=True),
        TrialRecord(PRUNED, "pruned", False, history=history(3.0)),
        TrialRecord(FAILED, "failed", False, "why"),
    ]
    folder = tmp_path / "results" / "smoothing"
    returned = write_study_tables(folder, "smoothing", records, store, INPUTS)
    trials, losses, answers, examples = (
        pd.read_parquet(folder / f"{name}.parquet")
        for name in ("trials", "history", "predictions", "examples")
    )
    assert trials["state"].tolist() == ["complete", "pruned", "failed"]
    assert trials["label_smoothing"].tolist() == [0.0, 0.1, 0.2]
    assert trials["trial_id"].tolist() == [row["trial_id"] for row in returned]
    assert losses["trial_id"].value_counts().to_dict() == {TRIAL.trial_id: 2, PRUNED.trial_id: 1}
    assert answers["trial_id"].tolist() == [TRIAL.trial_id] * 3
    assert examples["example_id"].tolist() == [f"e{number}" for number in range(200)]
    assert set(answers["example_id"]) <= set(examples["example_id"])
    pd.testing.assert_frame_equal(pd.read_csv(folder / "trials.csv"), trials, check_dtype=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        "examples.parquet",
        "history.parquet",
        "predictions.parquet",
        "trials.csv",
        "trials.parquet",
    ]


def test_a_study_of_the_training_pool_reads_back(store, tmp_path):
    trials = trials_of(study_of({"data.num_train": [100, 200]}))
    records = [TrialRecord(trial, "failed", False, "why") for trial in trials]
    write_study_tables(tmp_path, "own", records, store, INPUTS)
    assert pd.read_parquet(tmp_path / "trials.parquet")["num_train"].tolist() == [100, 200]


def failed(vary: Mapping[str, Any]) -> list[TrialRecord]:
    return [TrialRecord(trial, "failed", False, "why") for trial in trials_of(study_of(vary))]


def test_the_examples_of_all_trials_are_listed_once():
    records = failed({"data.num_validation": [3, 5, 4]})
    found = study_examples(records, INPUTS)
    assert [each.example_id for each in found.values()] == ["e0", "e1", "e2", "e3", "e4"]
    assert list(found) == CONTENT_IDS[:5]
    assert study_examples([], INPUTS) == {}


def test_equal_ids_of_two_sources_are_numbered_and_equal_examples_merged():
    class Sources(FakeInputs):
        def validation(self, task: Task, data: Data) -> list[Example]:
            theirs = replace(example("e2"), inputs=(f"of {data.source}", "b"))
            # The same example, with another id in each source.
            return [replace(example(f"{data.source}1"), inputs=("of both", "b")), theirs]

    found = study_examples(failed({"data.source": ["a", "b"]}), Sources()).values()
    assert [(each.example_id, each.inputs[0]) for each in found] == [
        ("a1", "of both"),
        ("e2", "of a"),
        ("e2-2", "of b"),
    ]


WRITERS = ("write_history", "write_all_predictions", "write_examples", "write_trials", "write_text")


@pytest.mark.parametrize("writer", WRITERS)
def test_tables_are_replaced_only_if_all_can_be_written(store, tmp_path, monkeypatch, writer):
    def refuse(*_: Any) -> None:
        raise StoreError("full")

    records, beside = [TrialRecord(FAILED, "failed", False, "why")], {"study.yaml": "old"}
    write_study_tables(tmp_path, "s", records, store, INPUTS, beside)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = [*records, TrialRecord(PRUNED, "pruned", False, history=history(3.0))]
    with monkeypatch.context() as patched:
        patched.setattr(f"tune_distill.records.trials.{writer}", refuse)
        with pytest.raises(StoreError, match="full"):
            write_study_tables(tmp_path, "s", other, store, INPUTS, {"study.yaml": "new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_study_tables(tmp_path, "s", other, store, INPUTS, {"study.yaml": "new"})
    assert (tmp_path / "study.yaml").read_text() == "new"
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == 2


def test_predictions_that_are_lost_leave_the_old_tables(store, tmp_path):
    folder = tmp_path / "results"
    finish(store, TRIAL, num_predictions=3)
    records = [complete_record(TRIAL, store, reused=True)]
    write_study_tables(folder, "s", records, store, INPUTS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    store.predictions_path(TRIAL.evaluation_key).write_bytes(b"cut")
    with pytest.raises(StoreError):
        write_study_tables(folder, "s", records, store, INPUTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_killed_writers_left_is_removed(store, tmp_path):
    (tmp_path / ".history.parquet.0123456789ab.tmp").touch()
    (tmp_path / ".tables.0123456789ab.tmp").mkdir()
    (tmp_path / ".tables.0123456789ab.tmp" / "trials.parquet").touch()
    (tmp_path / ".own.tmp").touch()
    write_study_tables(tmp_path, "s", [TrialRecord(FAILED, "failed", False)], store, INPUTS)
    assert [path.name for path in tmp_path.glob(".*")] == [".own.tmp"]


def test_an_error_that_no_encoding_can_write_is_a_row(store, tmp_path):
    record = TrialRecord(FAILED, "failed", False, "no file \udcff")
    write_study_tables(tmp_path, "s", [record], store, INPUTS)
    (error,) = pd.read_parquet(tmp_path / "trials.parquet")["error"]
    assert error == r"no file \udcff"


def test_rows_of_one_setting_share_its_profiles_text(tmp_path, store):
    trials = trials_of("smoothing", num_seeds=2)
    records = [TrialRecord(trial, "failed", False, "why") for trial in trials]
    first, second, other = write_study_tables(tmp_path, "s", records, store, INPUTS)[:3]
    assert first["config"] is second["config"]
    assert json.loads(first["config"]) == trials[0].profile.model_dump()
    assert json.loads(other["config"]) == trials[2].profile.model_dump()
