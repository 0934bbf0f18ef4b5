import errno
import json
import logging
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.records.made import (
    LocalStore,
    evaluation_record,
    finish,
    finish_run,
    history,
    prediction,
    run_record,
    trials_of,
)
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder
from tune_distill.records.runs import HistoryRow
from tune_distill.records.store import Store
from tune_distill.records.tables import write_predictions
from tune_distill.records.uris import local_path, open_place
from tune_distill.spec.errors import StoreError

TRIAL, OTHER = trials_of()[:2]
KEY, EVALUATION = TRIAL.run_key, TRIAL.evaluation_key


def memory_place() -> ObjectStore:
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}", "--store")


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_run_is_found_when_its_record_is_written_and_not_before(store):
    def save(path: Path) -> None:
        assert not store.has_run(KEY)
        assert store.run(KEY) is None
        (path / "weights").write_text("w")

    assert not store.has_run(KEY)
    assert store.run(KEY) is None
    store.begin_run(KEY, TRIAL.run_identity)
    assert not store.has_run(KEY)
    assert store.run(KEY) is None
    store.finish_run(KEY, TRIAL.run_identity, run_record(TRIAL), save)
    assert store.has_run(KEY)
    assert store.run(KEY) == run_record(TRIAL)
    assert (store.student_dir(KEY) / "weights").read_text() == "w"
    assert not store.has_run(OTHER.run_key)


def test_a_run_whose_student_cannot_be_saved_is_not_found(store):
    def save(path: Path) -> None:
        (path / "weights").write_text("w")
        raise ZeroDivisionError

    store.begin_run(KEY, TRIAL.run_identity)
    with pytest.raises(ZeroDivisionError):
        store.finish_run(KEY, TRIAL.run_identity, run_record(TRIAL), save)
    assert not store.has_run(KEY)
    assert not store.student_dir(KEY).exists()


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_of_two_writers_of_a_run_one_provides_both_student_and_record(tmp_path, where):
    """The second writer finishes while the first one's student is being uploaded."""
    place = Folder(tmp_path) if where == "folder" else memory_place()
    first, second = Store(place), Store(place)

    def save_meanwhile(folder: Path) -> None:
        (folder / "weights").write_text("first")
        record = run_record(TRIAL, device="second")
        second.finish_run(KEY, TRIAL.run_identity, record, save_second)

    def save_second(folder: Path) -> None:
        (folder / "weights").write_text("second")

    record = run_record(TRIAL, device="first")
    first.finish_run(KEY, TRIAL.run_identity, record, save_meanwhile)
    run = first.run(KEY)
    assert run is not None
    with first.student(KEY) as folder:
        assert (folder / "weights").read_text() == run.device == "second"
    assert len(place.names(f"runs/{KEY}")) == 3


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.EMFILE, "check the disk"), (errno.EACCES, "allow yourself")]
)
def test_a_file_that_may_not_be_read_is_an_error_and_not_damage(store, monkeypatch, code, remedy):
    finish(store, TRIAL)
    opened = os.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(("predictions.parquet", "model.safetensors", "weights")):
            raise OSError(code, os.strerror(code))
        return opened(path, *arguments, **more)

    monkeypatch.setattr("os.open", refuse)
    for ask, key in ((store.has_run, KEY), (store.has_evaluation, EVALUATION)):
        with pytest.raises(StoreError, match=f"must be readable, got .*; {remedy}"):
            ask(key)
    monkeypatch.undo()
    assert store.has_run(KEY)
    assert store.has_evaluation(EVALUATION)


def test_a_run_has_the_identity_that_its_key_is_made_of(store, caplog):
    path = store.run_dir(KEY) / "identity.json"
    store.begin_run(KEY, TRIAL.run_identity)
    whole = path.read_bytes()
    assert json.loads(whole) == TRIAL.run_identity
    path.write_text('{"seed": 1}')
    store.begin_run(KEY, TRIAL.run_identity)
    assert path.read_bytes() == whole
    assert "set aside as identity.json.damaged-1" in caplog.text


def test_a_checkpoint_replaces_the_former_and_is_removed_at_the_end(store):
    path = store.checkpoint_path(KEY)
    assert not path.exists()
    for text in ("first", "second"):
        store.save_checkpoint(KEY, lambda temporary, text=text: temporary.write_text(text))
        assert path.read_text() == text
    finish_run(store, TRIAL)
    assert not path.exists()


def test_a_checkpoint_that_cannot_be_saved_leaves_the_one_before(store):
    def save(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    store.save_checkpoint(KEY, lambda path: path.write_text("whole"))
    with pytest.raises(ZeroDivisionError):
        store.save_checkpoint(KEY, save)
    assert store.checkpoint_path(KEY).read_text() == "whole"
    assert [path.name for path in store.run_dir(KEY).iterdir()] == ["checkpoint.safetensors"]


def test_a_discarded_run_is_not_found_and_starts_over(store):
    finish_run(store, TRIAL)
    store.save_checkpoint(KEY, lambda path: path.write_text("late"))
    store.discard_run(KEY)
    assert (store.has_run(KEY), store.run(KEY)) == (False, None)
    assert not store.checkpoint_path(KEY).exists()
    store.discard_run(KEY)
    store.discard_run(OTHER.run_key)
    finish_run(store, TRIAL)
    assert store.has_run(KEY)


@pytest.mark.parametrize(
    "text", ["", "{", "\x00", "[]", "null", '"text"', "{}", '{"history": [1]}', '{"history": 3}']
)
def test_a_damaged_run_is_reported_set_aside_and_not_found(store, caplog, text):
    finish_run(store, TRIAL)
    (store.run_dir(KEY) / "run.json").write_text(text)
    with caplog.at_level(logging.WARNING, "tune_distill"):
        assert store.run(KEY) is None
    (message,) = caplog.messages
    assert message.startswith(f"{store.run_dir(KEY)}: damaged (")
    assert message.endswith(f"set aside as {KEY}.damaged-1")
    assert not store.run_dir(KEY).exists()
    # The run that was set aside has all its files, but is no longer found as a run.
    aside = store.root / "runs" / f"{KEY}.damaged-1"
    (student,) = aside.glob("student-*")
    assert (student / "weights").read_text() == KEY
    assert list(store.identities()) == []
    caplog.clear()
    assert store.run(KEY) is None
    assert caplog.messages == []


def test_a_second_damage_is_set_aside_beside_the_first(store):
    for _ in range(2):
        finish_run(store, TRIAL)
        (store.run_dir(KEY) / "run.json").write_text("{")
        assert store.run(KEY) is None
    names = sorted(path.name for path in (store.root / "runs").iterdir())
    assert names == [f"{KEY}.damaged-1", f"{KEY}.damaged-2"]


def test_only_complete_runs_are_compared_with(store):
    assert list(store.identities()) == []
    store.begin_run(OTHER.run_key, OTHER.run_identity)
    assert list(store.identities()) == []
    finish_run(store, TRIAL)
    assert list(store.identities()) == [(KEY, TRIAL.run_identity)]


def test_unreadable_runs_are_skipped_in_comparisons_and_kept(store, caplog):
    """They may be runs of other versions, which a comparison must not set aside."""
    finish_run(store, TRIAL)
    finish_run(store, OTHER)
    former = store.root / "runs" / ("f" * 64)
    former.mkdir()
    (former / "run.json").write_text('{"num_train": 300}')
    (store.run_dir(KEY) / "identity.json").write_text("{")
    assert list(store.identities()) == [(OTHER.run_key, OTHER.run_identity)]
    assert caplog.messages == []
    assert former.is_dir()
    # Reading the damaged run sets it aside.
    assert not store.has_run(KEY)
    assert f"set aside as {KEY}.damaged-1" in caplog.text


def test_an_evaluation_is_found_when_its_record_is_written_and_not_before(store):
    def save(path: Path) -> None:
        assert not store.has_evaluation(EVALUATION)
        write_predictions(path, [prediction()])

    assert store.evaluation(EVALUATION) is None
    store.save_evaluation(EVALUATION, KEY, evaluation_record(), save)
    assert store.has_evaluation(EVALUATION)
    assert store.evaluation(EVALUATION) == evaluation_record()
    assert store.predictions_path(EVALUATION).is_file()
    store.discard_evaluation(EVALUATION)
    assert not store.has_evaluation(EVALUATION)
    assert store.evaluation(EVALUATION) is None


def test_an_evaluation_whose_predictions_cannot_be_saved_is_not_found(store):
    def save(path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.save_evaluation(EVALUATION, KEY, evaluation_record(), save)
    assert not store.has_evaluation(EVALUATION)


@pytest.mark.parametrize("text", ["{", "[1]", "null", '{"metrics": {}}', '{"more": 1}'])
def test_a_damaged_evaluation_is_set_aside(store, caplog, text):
    finish(store, TRIAL)
    (store.evaluation_dir(EVALUATION) / "evaluation.json").write_text(text)
    assert store.evaluation(EVALUATION) is None
    assert f"set aside as {EVALUATION}.damaged-1" in caplog.text
    assert not store.has_evaluation(EVALUATION)


def test_a_pruned_mark_is_of_one_search_and_one_run(store):
    rows = history(None, 2.0)
    store.mark_pruned("search-a", KEY, rows)
    assert store.is_pruned("search-a", KEY)
    assert store.pruned_history("search-a", KEY) == rows
    assert not store.is_pruned("search-b", KEY)
    assert not store.is_pruned("search-a", OTHER.run_key)
    assert not store.has_run(KEY)


def test_a_discarded_search_is_set_aside_with_its_journal_and_marks(store):
    store.journal_path("search").parent.mkdir(parents=True)
    store.journal_path("search").write_text("journal")
    store.mark_pruned("search", KEY, ())
    store.discard_search("search")
    assert not store.is_pruned("search", KEY)
    assert not store.journal_path("search").exists()
    assert (store.root / "searches" / "search.old-1" / "optuna.journal").read_text() == "journal"
    store.discard_search("search")
    store.discard_search("never begun")
    names = sorted(path.name for path in (store.root / "searches").iterdir())
    assert names == ["search.old-1"]


def test_a_simulator_is_written_whole(store):
    store.save_simulator("pool-v1", b"weights")
    path = store.simulator_path("pool-v1")
    assert (path.name, path.read_bytes()) == ("pool-v1.safetensors", b"weights")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_history_row_survives_json_to_the_last_digit(store):
    row = HistoryRow(3, 1 / 3, 0.1 + 0.2, 1e-300, None, 5e-5, 12345.678901234567)
    store.mark_pruned("search", KEY, (row,))
    assert asdict(store.pruned_history("search", KEY)[0]) == asdict(row)


def test_set_aside_never_overwrites(tmp_path):
    (tmp_path / "x.old-1").write_text("first")
    (tmp_path / "x").write_text("second")
    assert Folder(tmp_path).set_aside("x", "old") == "x.old-2"
    assert (tmp_path / "x.old-1").read_text() == "first"
    assert (tmp_path / "x.old-2").read_text() == "second"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/store", "/data/store"),
        ("file:///data/my%20store", "/data/my store"),
        ("file://localhost/data", "/data"),
        ("/data/100%20", "/data/100%20"),
    ],
)
def test_a_path_or_a_file_uri_names_a_folder(uri, path):
    assert local_path(uri, "--store") == Path(path)


def test_relative_paths_and_homes_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("results", "--results") == tmp_path / "results"
    assert local_path("~/results", "--results") == Path("/home/me/results")


@pytest.mark.parametrize("uri", ["file://results", "file://data/store"])
def test_a_file_uri_with_a_host_is_not_taken_for_a_path(uri):
    with pytest.raises(StoreError, match=f"^--store: .*file:///absolute/path, got {uri}$"):
        local_path(uri, "--store")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("~nobody-of-this-name/x", r"the user of a ~ must exist, .* \./~nobody"),
        ("s3://[b/x", "got s3://"),
        ("memory://b/ex[1]", "must be without"),
        ("memory://b/what?", "must be without"),
    ],
)
def test_an_invalid_uri_is_refused(uri, message):
    with pytest.raises(StoreError, match=f"^--store: .*{message}"):
        open_place(uri, "--store")
