"""Fetched answers that are not the requested tables: one error, and no table is changed."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import tracemalloc
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.records.parcels import contents, lines_of, make_study, trials_of_study
from tune_distill.records import announcement, arrived
from tune_distill.records.announcement import BEGIN, DATA, END, LINE_BYTES
from tune_distill.records.parcel import unpack
from tune_distill.spec.errors import ClusterError


def parcel_of(begin, content=b"", told=None):
    """Return the lines of a parcel with the announcement `begin` and this content."""
    packed = zlib.compress(content, 9)
    parts = [packed[at : at + LINE_BYTES] for at in range(0, len(packed), LINE_BYTES)]
    first = begin if isinstance(begin, str) else json.dumps(begin)
    digest = hashlib.sha256(packed).hexdigest()
    return [
        BEGIN + first,
        *(DATA + base64.b64encode(part).decode() for part in parts),
        told or f"{END}{len(parts)} {digest}",
    ]


def parcel_with(files, studies=("smoothing",), missing=()):
    """Return a valid parcel of these files, which map names to contents."""
    sizes = [[name, len(content)] for name, content in files.items()]
    begin = {"studies": list(studies), "missing": list(missing), "files": sizes}
    return parcel_of(begin, b"".join(files.values()))


@pytest.fixture
def good(tmp_path):
    """Return a study's files as they are sent."""
    folder = make_study(tmp_path / "good", "smoothing")
    names = [name for name in arrived.FILES if (folder / name).is_file()]
    return {f"smoothing/{name}": (folder / name).read_bytes() for name in names}


@pytest.fixture
def refused(tmp_path):
    """Check that unpacking lines is refused and leaves older tables of two studies unchanged."""
    here = tmp_path / "here"
    studies = [make_study(here, name, seed=7) for name in ("smoothing", "decoding")]
    before = [contents(folder) for folder in studies]

    def refuse(lines, *asked):
        with pytest.raises(ClusterError) as caught:
            unpack(lines, here, asked or ["smoothing"])
        assert [contents(folder) for folder in studies] == before
        assert sorted(path.name for path in here.iterdir()) == ["decoding", "smoothing"]
        assert len(str(caught.value)) < 1500
        return str(caught.value)

    return refuse


def test_a_made_parcel_is_like_a_packed_one(tmp_path, good):
    unpack(parcel_with(good), tmp_path / "here", ["smoothing"])
    arrived_files = contents(tmp_path / "here" / "smoothing")
    assert {f"smoothing/{name}": content for name, content in arrived_files.items()} == good


def without(lines, number):
    return lines[:number] + lines[number + 1 :]


def changed(line):
    """Return the line with one byte of its content changed."""
    head, _, text = line.rpartition(" ")
    content = bytearray(base64.b64decode(text))
    content[len(content) // 2] ^= 1
    return f"{head} {base64.b64encode(content).decode()}"


DAMAGES = {
    "nothing": lambda lines: [],
    "no first line": lambda lines: lines[1:],
    "only the last line": lambda lines: lines[-1:],
    "the first line twice": lambda lines: [lines[0], *lines],
    "a first line among the others": lambda lines: [*lines[:2], lines[0], *lines[2:]],
    "data before the first line": lambda lines: [lines[1], *lines],
    "no end": lambda lines: lines[:-1],
    "an end of other words": lambda lines: [*lines[:-1], END + "many lines"],
    "an end too early": lambda lines: [*lines[:2], lines[-1]],
    "cut in the middle": lambda lines: lines[: len(lines) // 2],
    "first data line lost": lambda lines: without(lines, 1),
    "last data line lost": lambda lines: without(lines, -2),
    "lines swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a byte changed": lambda lines: [*lines[:2], changed(lines[2]), *lines[3:]],
    "not base64": lambda lines: [*lines[:2], lines[2][:-3] + "!!!", *lines[3:]],
    "not ASCII": lambda lines: [*lines[:2], lines[2][:-3] + "é", *lines[3:]],
    "a line cut short": lambda lines: [*lines[:2], lines[2][: len(lines[2]) // 2], *lines[3:]],
    "a line told twice": lambda lines: [*lines[:3], *lines[2:]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_parcel_changes_nothing(tmp_path, refused, damage):
    make_study(tmp_path / "there", "smoothing", 4 * LINE_BYTES)
    lines = DAMAGES[damage](lines_of(tmp_path / "there", "smoothing"))
    assert refused(lines).startswith("fetch: the tables must arrive whole, got ")


WHOLE = {"studies": ["smoothing"], "missing": [], "files": [["smoothing/trials.parquet", 9]]}

BEGINS = {
    "no JSON": "{studies",
    "nothing": "",
    "a list": "[]",
    "null": "null",
    "a number": "1e999",
    "deep": "[" * 100_000,
    "deep objects": '{"studies":' * 100_000,
    "long": json.dumps({**WHOLE, "missing": ["x" * 2**20]}),
    "without studies": {"missing": [], "files": []},
    "without sizes": {"studies": ["smoothing"], "missing": []},
    "unknown keys": {**WHOLE, "class": "os.system"},
    "studies of another type": {**WHOLE, "studies": "smoothing"},
    "numbers for studies": {**WHOLE, "studies": [1]},
    "files of another type": {**WHOLE, "files": {"smoothing/trials.parquet": 9}},
    "a size of another type": {**WHOLE, "files": [["smoothing/trials.parquet", "9"]]},
    "a size that is a truth": {**WHOLE, "files": [["smoothing/trials.parquet", True]]},
    "a fraction for a size": {**WHOLE, "files": [["smoothing/trials.parquet", 1.5]]},
    "a negative size": {**WHOLE, "files": [["smoothing/trials.parquet", -1]]},
    "a size beyond the limit": {**WHOLE, "files": [["smoothing/trials.parquet", 2**40]]},
    "a text beyond its limit": {
        **WHOLE,
        "files": [["smoothing/trials.parquet", 9], ["smoothing/study.yaml", 2**21]],
    },
    "a file twice": {**WHOLE, "files": WHOLE["files"] * 2},
    "a study twice": {**WHOLE, "studies": ["smoothing"] * 2},
    "a study that is missing too": {**WHOLE, "missing": ["smoothing"]},
    "no trials": {**WHOLE, "files": [["smoothing/trials.csv", 9]]},
    "no files": {**WHOLE, "files": []},
    "another study": {**WHOLE, "studies": ["decoding"], "files": [["decoding/trials.parquet", 9]]},
    "another study too": {**WHOLE, "studies": ["smoothing", "decoding"]},
    "another study's file": {
        **WHOLE,
        "files": [["smoothing/trials.parquet", 9], ["decoding/trials.parquet", 9]],
    },
    "a study that nobody asked for is missing": {**WHOLE, "missing": ["decoding"]},
    "no answer for what was asked": {"studies": [], "missing": [], "files": []},
}


@pytest.mark.parametrize("begin", BEGINS)
def test_a_first_line_must_announce_the_requested_studies(refused, begin):
    lines = parcel_of(BEGINS[begin], b"123456789")
    assert refused(lines).startswith("fetch: the tables must arrive whole, got ")


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
        "smoothing\\trials.csv",
    ],
)
def test_only_tables_are_accepted(refused, good, name):
    assert "which is no table of these studies" in refused(parcel_with({**good, name: b"x"}))


def test_all_files_together_are_limited(refused, monkeypatch, good):
    monkeypatch.setattr(announcement, "TOTAL_BYTES", 1000)
    assert "got more than 1000 bytes" in refused(parcel_with(good))


@pytest.mark.parametrize("announced", [0, 100, 10_000])
def test_no_more_is_unpacked_than_was_announced(refused, announced):
    begin = {**WHOLE, "files": [["smoothing/trials.parquet", announced]]}
    lines = parcel_of(begin, b"\0" * 500_000_000)
    tracemalloc.start()
    try:
        assert "more than was announced" in refused(lines)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * 2**20


def test_endless_bytes_that_unpack_to_nothing_are_refused(refused):
    empty = zlib.compressobj()
    nothing = DATA + base64.b64encode(empty.flush(zlib.Z_FULL_FLUSH) * 1000).decode()

    def endless():
        yield BEGIN + json.dumps(WHOLE)
        while True:
            yield nothing

    assert "more than was announced" in refused(endless())


def table(columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def trials(study):
    sink = pa.BufferOutputStream()
    pq.write_table(trials_of_study(study), sink)
    return sink.getvalue().to_pybytes()


CONTENTS = {
    "no Parquet": ("trials.parquet", b"PAR1", "cannot be read"),
    "empty": ("predictions.parquet", b"", "cannot be read"),
    "without a column": ("history.parquet", table({"trial_id": ["a"]}), "no column step"),
    "a column of another type": (
        "history.parquet",
        table({"trial_id": ["a"], "step": [[1]]}),
        "column step of type list<element: int64>, not int64",
    ),
    "a null in a key": (
        "history.parquet",
        table({"trial_id": pa.array([None], pa.string()), "step": [1]}),
        "a null in column trial_id",
    ),
    "trials of another study": ("trials.parquet", trials("decoding"), "of another study, 'decod"),
    "a CSV of another study": ("trials.csv", b"study,trial_id\nsmoothing,a\nother,b\n", "'other'"),
    "a CSV without columns": ("trials.csv", b"a,b\n1,2\n", "cannot be read"),
    "a CSV with a short row": ("trials.csv", b"study,trial_id\nsmoothing\n", "cannot be read"),
    "no text": ("trials.csv", b"study,trial_id\n\xff\xfe,1\n", "cannot be read"),
    "a study file of another study": (
        "study.yaml",
        b"name: other\nquestion: Q?\nvary: {train.label_smoothing: [0.0, 0.1]}\n",
        "of another study, 'other'",
    ),
    "no YAML": ("study.yaml", b"{", "is no study"),
    "a class in YAML": ("study.yaml", b"!!python/object/apply:os.system [id]", "is no study"),
    "no JSON": ("environment.json", b"{", "cannot be read"),
    "a JSON list": ("environment.json", b"[]", "cannot be read"),
    "deep JSON": ("environment.json", b"[" * 100_000, "cannot be read"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_every_file_is_checked_before_the_first_is_replaced(refused, good, kind):
    name, content, told = CONTENTS[kind]
    assert told in refused(parcel_with({**good, f"smoothing/{name}": content}))


def test_few_bytes_that_decode_to_many_rows_are_refused(refused, good, monkeypatch):
    monkeypatch.setattr(arrived, "_MOST_ROWS", 1000)
    rows = table({"trial_id": ["a"] * 1001, "example_id": ["b"] * 1001})
    told = refused(parcel_with({**good, "smoothing/predictions.parquet": rows}))
    assert "1001 rows, of at most 1000" in told


def mutated(lines, made):
    """Return the lines after one or two random changes."""
    lines = list(lines)
    for _ in range(made.randint(1, 2)):
        at = made.randrange(len(lines))
        line = lines[at]
        where = made.randrange(len(line) or 1)
        other = made.choice('abc019{}[]",:/+= .\\\0é')
        kind = made.randrange(8)
        if kind == 0:
            lines[at] = line[:where] + other + line[where + 1 :]
        elif kind == 1:
            lines[at] = line[:where] + other + line[where:]
        elif kind == 2:
            lines[at] = line[:where] + line[where + made.randint(1, 20) :]
        elif kind == 3:
            lines.pop(at)
        elif kind == 4:
            lines.insert(made.randrange(len(lines) + 1), line)
        elif kind == 5:
            made.shuffle(lines)
        elif kind == 6:
            lines.insert(at, made.choice([BEGIN, DATA, END, BEGIN + "[]", END + "0 0", "noise"]))
        else:
            lines = lines[:at]
        if not lines:
            break
    return lines


def test_a_mutated_parcel_replaces_all_tables_or_none(tmp_path):
    """Unpack 200 seeded mutations of a valid answer."""
    make_study(tmp_path / "there", "smoothing", 4 * LINE_BYTES)
    lines = lines_of(tmp_path / "there", "smoothing")
    old, here = tmp_path / "old", tmp_path / "here"
    before = contents(make_study(old, "smoothing", seed=1))
    sent = contents(tmp_path / "there" / "smoothing")
    right = before | {name: sent[name] for name in arrived.FILES if name in sent}
    messages = []
    for seed in range(200):
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(old, here)
        expected = right
        try:
            unpack(mutated(lines, random.Random(seed)), here, ["smoothing"])
        except ClusterError as error:
            messages.append(str(error))
            expected = before
        assert contents(here / "smoothing") == expected, seed
        assert [path.name for path in here.iterdir()] == ["smoothing"]
    assert 100 < len(messages) < 200
    assert max(map(len, messages)) < 1500
