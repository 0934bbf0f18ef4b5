"""The local copy of a remote results folder."""

from __future__ import annotations

import uuid

import pytest

from tests.records.places import write
from tune_distill.records.mirror import mirrored
from tune_distill.records.objects import ObjectStore


@pytest.fixture
def place():
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}", "--results")


def test_only_tables_and_reports_are_fetched(place):
    names = ["smoothing/trials.parquet", "smoothing/figures/loss.svg"]
    for name in (*names, "store/runs/k/run.json", "letters/a.txt", "other.bin", ".store/x"):
        write(place, name)
    with mirrored(place) as mirror:
        assert list(mirror.folder.iterdir()) == []
        mirror.fetch()
        found = {path for path in mirror.folder.rglob("*") if path.is_file()}
        assert {path.relative_to(mirror.folder).as_posix() for path in found} == set(names)
    assert not mirror.folder.exists()


def test_only_files_written_since_the_last_time_are_published(place, monkeypatch):
    write(place, "smoothing/trials.parquet")
    sent = []
    with mirrored(place) as mirror:
        mirror.fetch()
        monkeypatch.setattr(place, "upload", lambda path, name: sent.append(name))
        mirror.publish()
        assert sent == []
        (mirror.folder / "smoothing" / "report.html").write_text("new")
        (mirror.folder / "smoothing" / "trials.parquet").write_text("changed")
        mirror.publish()
        mirror.publish()
    assert sent == ["smoothing/report.html", "smoothing/trials.parquet"]
