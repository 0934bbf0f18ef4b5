"""Damage to a stored file: its entry is set aside when it is read, and other entries are not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.records.made import LocalStore, finish, history, trials_of
from tune_distill.records.sealed import NewerRecordError, seal
from tune_distill.spec.errors import StoreError

TRIAL, OTHER = trials_of()[:2]
KEY, EVALUATION = TRIAL.run_key, TRIAL.evaluation_key

FILES = {
    "run.json": lambda store, trial: store.run_dir(trial.run_key) / "run.json",
    "identity.json": lambda store, trial: store.run_dir(trial.run_key) / "identity.json",
    "student": lambda store, trial: store.student_dir(trial.run_key) / "weights",
    "evaluation.json": lambda store, trial: (
        store.evaluation_dir(trial.evaluation_key) / "evaluation.json"
    ),
    "predictions": lambda store, trial: store.predictions_path(trial.evaluation_key),
}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    finish(store, TRIAL)
    finish(store, OTHER, num_predictions=2)
    return store


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path, other: Path) -> None:
    shutil.copy2(other, path)


def brackets(path: Path, other: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path, other: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def device(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage", [flip, cut, empty, replace, brackets, folder, link, device, pipe]
)
@pytest.mark.parametrize("file", FILES)
def test_a_changed_file_sets_only_its_own_entry_aside(
    store: LocalStore,
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: Callable[[Path, Path], None],
) -> None:
    damage(FILES[file](store, TRIAL), FILES[file](store, OTHER))
    in_run = file in ("run.json", "identity.json", "student")
    assert store.has_run(KEY) is not in_run
    assert store.has_evaluation(EVALUATION) is in_run
    entry = KEY if in_run else EVALUATION
    (message,) = caplog.messages
    assert "damaged (" in message
    assert message.endswith(f"set aside as {entry}.damaged-1")
    assert store.has_run(OTHER.run_key)
    assert store.has_evaluation(OTHER.evaluation_key)
    # The entry can be made again.
    finish(store, TRIAL)
    assert store.has_run(KEY)
    assert store.has_evaluation(EVALUATION)


@pytest.mark.parametrize("file", ["identity.json", "student", "predictions"])
def test_an_entry_with_a_missing_file_is_not_found(store: LocalStore, file: str) -> None:
    FILES[file](store, TRIAL).unlink()
    assert [store.has_run(KEY), store.has_evaluation(EVALUATION)].count(False) == 1


def test_swapped_entries_are_both_set_aside(store: LocalStore) -> None:
    for first, second in (
        (store.run_dir(KEY), store.run_dir(OTHER.run_key)),
        (store.evaluation_dir(EVALUATION), store.evaluation_dir(OTHER.evaluation_key)),
    ):
        first.rename(first.with_name("moving"))
        second.rename(first)
        first.with_name("moving").rename(second)
    for trial in (TRIAL, OTHER):
        assert not store.has_run(trial.run_key)
        assert not store.has_evaluation(trial.evaluation_key)


@pytest.mark.parametrize("made", ["file", "link"])
def test_an_entry_that_is_not_a_folder_is_made_again(store: LocalStore, made: str) -> None:
    path = store.run_dir(KEY)
    shutil.rmtree(path)
    if made == "file":
        path.write_text("not a folder")
    else:
        path.symlink_to(store.run_dir(OTHER.run_key))
    assert not store.has_run(KEY)
    finish(store, TRIAL)
    assert store.has_run(KEY)
    assert store.has_run(OTHER.run_key)


def test_a_student_is_checked_again_when_it_is_read(store: LocalStore) -> None:
    assert store.has_run(KEY)
    flip(FILES["student"](store, TRIAL), Path())
    with pytest.raises(StoreError, match="SHA-256"), store.student(KEY):
        pytest.fail("other weights than were stored")


def test_answers_damaged_after_planning_end_the_command_once(
    store: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.has_evaluation(EVALUATION)
    flip(FILES["predictions"](store, TRIAL), Path())
    with pytest.raises(StoreError, match="run the same command again to make them again"):
        store.predictions(EVALUATION)
    assert f"set aside as {EVALUATION}.damaged-1" in caplog.text
    assert not store.has_evaluation(EVALUATION)
    with pytest.raises(StoreError, match="got none that is whole"):
        store.predictions(EVALUATION)


def test_a_record_of_a_newer_version_stays_where_it_is(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FILES["run.json"](store, TRIAL)
    monkeypatch.setattr("tune_distill.records.sealed.FORMAT", 2)
    path.write_bytes(seal("run", {"run": KEY}, {"other": "meaning"}))
    monkeypatch.undo()
    for ask in (store.has_run, store.run):
        with pytest.raises(NewerRecordError, match="newer version of tune_distill"):
            ask(KEY)
    assert path.is_file()
    assert [key for key, _ in store.identities()] == [OTHER.run_key]


@pytest.mark.parametrize("damage", [flip, cut, brackets, folder, device, replace])
def test_a_damaged_mark_of_a_pruned_run_is_set_aside(
    store: LocalStore, caplog: pytest.LogCaptureFixture, damage: Callable[[Path, Path], None]
) -> None:
    marks = [store.root / "searches" / "s" / "pruned" / f"{key}.json" for key in (KEY, "other")]
    for mark in marks:
        store.mark_pruned("s", mark.stem, history(2.0))
    damage(*marks)
    assert not store.is_pruned("s", KEY)
    assert store.is_pruned("s", "other")
    assert f"set aside as {KEY}.json.damaged-1" in caplog.text
    with pytest.raises(StoreError, match="same command again to train it again"):
        store.pruned_history("s", KEY)


def test_a_folder_in_place_of_a_simulator_is_set_aside(store: LocalStore) -> None:
    store.simulator_path("pool").mkdir(parents=True)
    assert store.simulator("pool") is None
    store.save_simulator("pool", b"weights")
    assert store.simulator("pool") == b"weights"
