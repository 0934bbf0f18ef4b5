"""Tables as lines: what arrives is what was sent, or nothing is changed."""

from __future__ import annotations

import base64
import io
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc

import pytest

from tune_distill.records import parcel
from tune_distill.records.files import atomic_file
from tune_distill.records.parcel import Parcel, pack, unpack
from tune_distill.records.places import Folder
from tune_distill.spec.errors import ClusterError, StoreError

TABLES = (
    "trials.parquet",
    "trials.csv",
    "history.parquet",
    "predictions.parquet",
    "study.yaml",
    "environment.json",
)
OTHERS = ("report.html", "summary.json", "notes.txt", "trials (copy).csv", ".trials.csv.1.tmp")


def make_study(results, name, size=1000, seed=0):
    """A study's folder with every table, of bytes that do not compress."""
    folder = results / name
    (folder / "figures").mkdir(parents=True)
    noise = random.Random(seed)
    for file in (*TABLES, *OTHERS, "figures/effects.png"):
        (folder / file).write_bytes(noise.randbytes(size))
    return folder


def lines_of(results, *studies):
    lines = []
    pack(Folder(results), studies, lines.append)
    return lines


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 1000, parcel._LINE_BYTES, 3 * parcel._LINE_BYTES + 1])
def test_what_arrives_is_what_was_sent(tmp_path, size):
    make_study(tmp_path / "there", "smoothing", size)
    sent = contents(tmp_path / "there" / "smoothing")
    arrived = unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here")
    assert arrived == Parcel(("smoothing",), ())
    assert contents(tmp_path / "here" / "smoothing") == {name: sent[name] for name in TABLES}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["smoothing"]


def test_several_studies_travel_and_those_without_tables_are_named(tmp_path):
    make_study(tmp_path / "there", "smoothing")
    make_study(tmp_path / "there", "decoding", seed=1)
    (tmp_path / "there" / "temperature").mkdir()
    lines = lines_of(tmp_path / "there", "temperature", "smoothing", "gone", "decoding")
    arrived = unpack(lines, tmp_path / "here")
    assert arrived == Parcel(("smoothing", "decoding"), ("temperature", "gone"))
    for study in arrived.studies:
        sent = contents(tmp_path / "there" / study)
        assert contents(tmp_path / "here" / study) == {name: sent[name] for name in TABLES}


def test_no_tables_is_said(tmp_path):
    with pytest.raises(StoreError, match="must hold the tables of smoothing, decoding, got none"):
        lines_of(tmp_path, "smoothing", "decoding")


def test_lines_of_others_may_stand_between(tmp_path):
    make_study(tmp_path / "there", "smoothing", parcel._LINE_BYTES)
    lines = [
        text
        for line in lines_of(tmp_path / "there", "smoothing")
        for text in ("UserWarning: something", line, "")
    ]
    assert unpack(lines, tmp_path / "here").studies == ("smoothing",)


def test_nothing_after_the_end_is_waited_for(tmp_path):
    make_study(tmp_path / "there", "smoothing")

    def stream():
        yield from lines_of(tmp_path / "there", "smoothing")
        raise AssertionError("a line after the end was asked for")

    unpack(stream(), tmp_path / "here")


def without(lines, number):
    return lines[:number] + lines[number + 1 :]


def changed(line):
    """The line with one byte of what it carries changed."""
    head, _, text = line.rpartition(" ")
    content = bytearray(base64.b64decode(text))
    content[len(content) // 2] ^= 1
    return f"{head} {base64.b64encode(content).decode()}"


DAMAGES = {
    "nothing": lambda lines: [],
    "no end": lambda lines: lines[:-1],
    "cut in the middle": lambda lines: lines[: len(lines) // 2],
    "first data line lost": lambda lines: without(lines, 1),
    "last data line lost": lambda lines: without(lines, -2),
    "lines swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a byte changed": lambda lines: [*lines[:2], changed(lines[2]), *lines[3:]],
    "not base64": lambda lines: [*lines[:2], lines[2][:-3] + "!!!", *lines[3:]],
    "a line cut short": lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2], *lines[3:]],
    "a line told twice": lambda lines: [*lines[:3], *lines[2:]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_parcel_changes_nothing(tmp_path, damage):
    make_study(tmp_path / "there", "smoothing", parcel._LINE_BYTES)
    old = make_study(tmp_path / "here", "smoothing", seed=1)
    before = contents(old)
    lines = DAMAGES[damage](lines_of(tmp_path / "there", "smoothing"))
    with pytest.raises(ClusterError, match="the tables must arrive whole"):
        unpack(lines, tmp_path / "here")
    assert contents(old) == before


def archive_of(member, content=b"x"):
    """The lines of a parcel whose archive has this member."""
    lines = []
    taker = parcel._Lines(lines.append)
    with tarfile.open(fileobj=taker, mode="w|gz") as archive:
        member.size = len(content) if member.isreg() else 0
        archive.addfile(member, io.BytesIO(content))
    taker.end()
    return [parcel._BEGIN + '{"studies": ["smoothing"], "missing": []}', *lines]


@pytest.mark.parametrize(
    "name",
    [
        "../smoothing/trials.csv",
        "smoothing/../trials.csv",
        "/tmp/trials.csv",
        "smoothing/figures/trials.csv",
        "trials.csv",
        ".store/trials.csv",
        "smoothing/report.html",
        "smoothing/summary.json",
        "smoothing/.trials.csv",
        "smoothing/trials.csv\n",
    ],
)
def test_only_tables_are_let_in(tmp_path, name):
    here = tmp_path / "a" / "results"
    with pytest.raises(ClusterError, match="which is no table"):
        unpack(archive_of(tarfile.TarInfo(name)), here)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_files_are_let_in(tmp_path, kind):
    member = tarfile.TarInfo("smoothing/trials.csv")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ClusterError, match="which is no table"):
        unpack(archive_of(member), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_trials_are_replaced_last(tmp_path, monkeypatch):
    make_study(tmp_path / "there", "smoothing")
    replaced = []
    replace = os.replace

    def watched(source, target):
        replaced.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    unpack(lines_of(tmp_path / "there", "smoothing"), tmp_path / "here")
    assert sorted(replaced) == sorted(TABLES)
    assert replaced[-1] == "trials.parquet"


def test_a_table_that_is_replaced_meanwhile_arrives_as_it_was(tmp_path):
    folder = make_study(tmp_path / "there", "smoothing", 4 * parcel._LINE_BYTES)
    before = contents(folder)
    lines = []

    def write(line):
        lines.append(line)
        if len(lines) == 3:
            for name in TABLES:
                with atomic_file(folder / name) as temporary:
                    temporary.write_bytes(b"new")

    pack(Folder(tmp_path / "there"), ["smoothing"], write)
    unpack(lines, tmp_path / "here")
    arrived = contents(tmp_path / "here" / "smoothing")
    assert arrived["trials.parquet"] == before["trials.parquet"]
    assert {arrived[name] for name in TABLES} <= {b"new", *before.values()}


def test_memory_does_not_grow_with_the_tables(tmp_path):
    make_study(tmp_path / "there", "smoothing", 0)
    (tmp_path / "there" / "smoothing" / "predictions.parquet").write_bytes(os.urandom(30 * 2**20))
    log = tmp_path / "log"
    tracemalloc.start()
    try:
        with log.open("w") as stream:
            pack(Folder(tmp_path / "there"), ["smoothing"], lambda line: print(line, file=stream))
        with log.open() as stream:
            unpack(stream, tmp_path / "here")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    name = "smoothing/predictions.parquet"
    assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert peak < 6 * 2**20


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
    arrived = unpack(done.stdout.splitlines(keepends=True), tmp_path / "here")
    assert arrived == Parcel(("smoothing",), ("decoding",))


def test_why_there_is_no_parcel_comes_with_its_lines(tmp_path):
    done = run(str(tmp_path / "there"), "smoothing")
    assert (done.returncode, done.stdout) == (2, "")
    with pytest.raises(ClusterError) as caught:
        unpack(done.stderr.splitlines(), tmp_path / "here")
    assert str(caught.value).startswith(f"{tmp_path / 'there'}")
    assert "must hold the tables of smoothing, got none" in str(caught.value)


def test_a_job_that_could_not_begin_is_quoted(tmp_path):
    with pytest.raises(ClusterError, match=r"the job's log ends with: one \| two;"):
        unpack(["one", "two"], tmp_path)
    with pytest.raises(ClusterError, match="the job's log ends with: nothing;"):
        unpack([], tmp_path)
