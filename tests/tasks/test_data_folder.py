"""A folder's data are its regular files of one format per split, and what was read is reported."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.nli import NLI, pair, read_source
from tests.tiny import mini_examples, write_csv
from tune_distill.spec.errors import DataError
from tune_distill.tasks.account import account
from tune_distill.tasks.corpus import Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of twelve training and six validation examples."""
    write_csv(tmp_path / "train.csv", mini_examples("train", 12))
    write_csv(tmp_path / "validation.csv", mini_examples("validation", 6))
    return tmp_path


def told(folder: Path) -> str:
    raw = read_source(str(folder))
    return account("data", raw, Corpus.from_raw("data", raw, NLI))


@pytest.mark.parametrize(
    "name",
    [
        "._train.csv",  # from a Mac's archive
        ".train.csv",
        ".~lock.train.csv#",
        "~$train.csv",
        "#train.csv#",
        "train.csv~",
        "train.csv.bak",
        "train.csv.swp",
        "Icon\r",
        "Thumbs.db",
        "desktop.ini",
    ],
)
def test_hidden_files_and_litter_are_no_data(folder: Path, name: str) -> None:
    before = told(folder)
    (folder / name).write_bytes(bytes.fromhex("000516070002000000b0"))
    assert told(folder) == before
    shutil.copy(folder / "train.csv", folder / name)
    assert told(folder) == before


def test_a_named_pipe_is_refused_at_once(folder: Path) -> None:
    (folder / "train.csv").unlink()
    os.mkfifo(folder / "train.csv")
    with pytest.raises(DataError, match=r"train\.csv: must be a file, got a named pipe; copy"):
        read_source(str(folder))


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "train.csv").unlink()
    # A socket's path must be short.
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("train.csv")
        with pytest.raises(DataError, match=r"train\.csv: must be a file, got a socket"):
            read_source(str(folder))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device")
def test_a_link_to_a_device_is_refused(folder: Path) -> None:
    (folder / "train.csv").unlink()
    (folder / "train.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"train\.csv: must be a file, got a device"):
        read_source(str(folder))


def test_a_folder_with_the_name_of_a_file_is_refused(folder: Path) -> None:
    (folder / "train_2.csv").mkdir()
    with pytest.raises(DataError, match=r"train_2\.csv: must be a file, got a folder"):
        read_source(str(folder))


def test_links_to_files_are_read_and_links_to_nothing_refused(folder: Path, tmp_path: Path) -> None:
    before = told(folder)
    elsewhere = (folder / "train.csv").rename(tmp_path / "elsewhere.txt")
    (folder / "train.csv").symlink_to(elsewhere)
    assert told(folder) == before
    elsewhere.unlink()
    with pytest.raises(DataError, match=r"train\.csv: must be a file, got a link to nothing"):
        read_source(str(folder))


def test_a_copy_of_a_file_is_refused(folder: Path) -> None:
    shutil.copy(folder / "train.csv", folder / "train (copy).csv")
    expected = r"got all of train \(copy\)\.csv also in train\.csv; remove one$"
    with pytest.raises(DataError, match=expected):
        read_source(str(folder))


def test_parts_beside_their_union_are_refused(folder: Path) -> None:
    write_csv(folder / "train_1.csv", mini_examples("train", 12)[:5])
    with pytest.raises(DataError, match=r"got all of train_1\.csv also in train\.csv"):
        read_source(str(folder))


def test_a_name_of_both_splits_is_refused(folder: Path) -> None:
    shutil.copy(folder / "train.csv", folder / "train_and_validation.csv")
    with pytest.raises(DataError, match="a name must say one split, got train and validation"):
        read_source(str(folder))


def test_a_file_that_may_not_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    # Modes do not stop root from reading a file.
    def refuse(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "train.csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"train\.csv: must be readable csv, got: .*Permission"):
        read_source(str(folder))


@pytest.mark.parametrize("source", ["/x" * 3000, "~no-such-user-here/data", "a\0b", "\udcff"])
def test_a_source_that_cannot_be_a_path_is_refused(source: str) -> None:
    with pytest.raises(DataError):
        read_source(source)


def test_files_rows_and_what_became_of_them_are_told(folder: Path) -> None:
    examples = mini_examples("train", 12)
    bare = pair("", "a man", "a dog", "neutral", ("",))
    write_csv(folder / "train_2.csv", [examples[0], *mini_examples("train", 14)[12:], bare])
    write_csv(folder / "validation.csv", [*mini_examples("validation", 6), *examples[:3]])
    assert told(folder) == (
        "data: train 16 rows of train.csv (12) and train_2.csv (4), 1 dropped (1 no explanation), "
        "1 identical to an earlier one; validation 9 rows of validation.csv; "
        "3 validation examples also in train"
    )


def test_of_many_files_the_first_and_the_last_are_told(folder: Path) -> None:
    for number, example in enumerate(mini_examples("train", 30)[12:]):
        write_csv(folder / f"train_{number:02}.csv", [example])
    assert "train 30 rows of 19 files, train.csv (12) to train_17.csv (1);" in told(folder)


def test_ids_are_the_users_and_differ(tmp_path: Path) -> None:
    ids = ["7", "", "7", "a", "7-2", "7"]
    examples = [
        replace(example, example_id=name)
        for example, name in zip(mini_examples("train", 6), ids, strict=True)
    ]
    write_csv(tmp_path / "train.csv", examples)
    write_csv(tmp_path / "validation.csv", examples[:1])
    found = [example.example_id for example in read_source(str(tmp_path)).train]
    assert found == ["7", "train-1", "7-3", "a", "7-2", "7-4"]
