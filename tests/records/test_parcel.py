"""Parcels: tables arrive as they were sent, or no table is changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import pytest

from tests.records.parcels import (
    OTHERS,
    TABLES,
    contents,
    lines_of,
    make_study,
    noise,
)
from tune_distill.records.announcement import LINE_BYTES
from tune_distill.records.files import atomic_file
from tune_distill.records.parcel import pack, unpack
from tune_distill.records.places import Folder
from tune_distill.spec.errors import ClusterError, StoreError


@pytest.mark.parametrize("size", [0, 1000, LINE_BYTES, 3 * LINE_BYTES + 1])
def test_what_arrives_is_what_was_sent(tmp_path, size):
    make_study(tmp_path / "there", "smoothing", size)
    sent = contents(tmp_path / "there" / "smoothing")
    arrived = unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here", ["smoothing"])
    assert (arrived.studies, arrived.missing) == (("smoothing",), ())
    assert contents(tmp_path / "here" / "smoothing") == {name: sent[name] for name in TABLES}
    assert sent.keys() - set(TABLES) == set(OTHERS)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["smoothing"]


def test_several_studies_travel_and_those_without_tables_are_named(tmp_path):
    make_study(tmp_path / "there", "smoothing")
    make_study(tmp_path / "there", "decoding", seed=1)
    (tmp_path / "there" / "temperature").mkdir()
    asked = ["temperature", "smoothing", "gone", "decoding"]
    arrived = unpack(lines_of(tmp_path / "there", *asked), tmp_path / "here", asked)
    assert arrived.studies == ("smoothing", "decoding")
    assert arrived.missing == ("temperature", "gone")
    for study in arrived.studies:
        sent = contents(tmp_path / "there" / study)
        assert contents(tmp_path / "here" / study) == {name: sent[name] for name in TABLES}


def test_older_tables_are_replaced_and_other_files_stay(tmp_path):
    make_study(tmp_path / "there", "smoothing")
    make_study(tmp_path / "here", "smoothing", seed=1)
    (tmp_path / "here" / "smoothing" / "report.html").write_text("mine")
    unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here", ["smoothing"])
    sent, here = (contents(tmp_path / side / "smoothing") for side in ("there", "here"))
    assert {name: here[name] for name in TABLES} == {name: sent[name] for name in TABLES}
    assert here["report.html"] == b"mine"


def test_a_study_without_tables_is_refused(tmp_path):
    with pytest.raises(StoreError, match="must hold the tables of smoothing, decoding, got none"):
        lines_of(tmp_path, "smoothing", "decoding")


def test_other_lines_may_come_between(tmp_path):
    make_study(tmp_path / "there", "smoothing", LINE_BYTES)
    lines = [
        text
        for line in lines_of(tmp_path / "there", "smoothing")
        for text in ("UserWarning: something", line, "")
    ]
    arrived = unpack(lines, tmp_path / "here", ["smoothing"])
    assert arrived.studies == ("smoothing",)


def test_lines_after_the_end_are_not_read(tmp_path):
    make_study(tmp_path / "there", "smoothing")

    def stream():
        yield from lines_of(tmp_path / "there", "smoothing")
        raise AssertionError("a line after the end was asked for")

    unpack(stream(), tmp_path / "here", ["smoothing"])


def test_trials_are_replaced_last(tmp_path, monkeypatch):
    make_study(tmp_path / "there", "smoothing")
    replaced = []
    replace = os.replace

    def watched(source, target):
        replaced.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here", ["smoothing"])
    assert sorted(replaced) == sorted(TABLES)
    assert replaced[-1] == "trials.parquet"


@pytest.mark.parametrize("number", range(len(TABLES)))
def test_if_one_table_cannot_be_replaced_all_stay_as_they_were(tmp_path, monkeypatch, number):
    make_study(tmp_path / "there", "smoothing")
    old = make_study(tmp_path / "here", "smoothing", seed=1)
    (old / "trials.csv").unlink()
    before = contents(old)
    replace, calls = os.replace, []

    def full(source, target):
        calls.append(target)
        if len(calls) == number + 1:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here", ["smoothing"])
    assert contents(old) == before
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["smoothing"]


def test_no_link_in_results_is_followed(tmp_path):
    make_study(tmp_path / "there", "smoothing")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "smoothing").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="must be no symbolic link"):
        unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here", ["smoothing"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_table_that_is_replaced_meanwhile_arrives_as_it_was(tmp_path):
    folder = make_study(tmp_path / "there", "smoothing", 4 * LINE_BYTES)
    before = contents(folder)
    lines = []

    def write(line):
        lines.append(line)
        if len(lines) == 3:
            for name in TABLES:
                with atomic_file(folder / name) as temporary:
                    temporary.write_bytes(b"new")

    pack(Folder(tmp_path / "there"), ["smoothing"], write)
    unpack(lines, tmp_path / "here", ["smoothing"])
    assert contents(tmp_path / "here" / "smoothing") == {name: before[name] for name in TABLES}


def test_memory_does_not_grow_with_the_tables(tmp_path):
    folder = make_study(tmp_path / "there", "smoothing", 0)
    noise(folder / "predictions.parquet", num_rows=30_000, row_bytes=1000)
    log = tmp_path / "log"
    tracemalloc.start()
    try:
        with log.open("w") as stream:
            pack(Folder(tmp_path / "there"), ["smoothing"], lambda line: print(line, file=stream))
        with log.open() as stream:
            unpack(stream, tmp_path / "here", ["smoothing"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    name = "smoothing/predictions.parquet"
    assert (tmp_path / "there" / name).stat().st_size > 30 * 10**6
    assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert peak < 12 * 2**20


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tune_distill.records.parcel", *arguments],
        capture_output=True,
        text=True,
    )


def test_the_command_prints_a_parcel(tmp_path):
    make_study(tmp_path / "there", "smoothing")
    done = run(str(tmp_path / "there"), "smoothing", "decoding")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines(keepends=True)
    arrived = unpack(lines, tmp_path / "here", ["smoothing", "decoding"])
    assert (arrived.studies, arrived.missing) == (("smoothing",), ("decoding",))


def test_the_packers_error_is_raised_where_it_is_unpacked(tmp_path):
    done = run(str(tmp_path / "there"), "smoothing")
    assert (done.returncode, done.stdout) == (2, "")
    with pytest.raises(ClusterError) as caught:
        unpack(done.stderr.splitlines(), tmp_path / "here", ["smoothing"])
    assert str(caught.value).startswith(f"{tmp_path / 'there'}")
    assert "must hold the tables of smoothing, got none" in str(caught.value)


def test_a_job_that_could_not_begin_is_quoted(tmp_path):
    with pytest.raises(ClusterError, match=r"the job's log ends with: one \| two;"):
        unpack(["one", "two"], tmp_path, ["smoothing"])
    with pytest.raises(ClusterError, match="the job's log ends with: nothing;"):
        unpack([], tmp_path, ["smoothing"])
