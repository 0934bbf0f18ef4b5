"""A report with a truncated or edited file is made again; killed writers leave nothing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.made_studies import Studies
from tune_distill.records.environment import is_damaged
from tune_distill.reports.manifest import is_whole, write_manifest
from tune_distill.reports.reports import report_results, report_study, verdict
from tune_distill.spec.errors import StoreError

MADE = ["report.html", "report.md", "summary.json", "manifest.json"]


@pytest.fixture
def folder(studies: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a study with its report and the report over all, with fake figures."""

    def save(figures: Any, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for figure, suffix in itertools.product(figures, ("png", "svg")):
            (folder / f"{figure.name}.{suffix}").write_text(figure.name)

    monkeypatch.setattr("tune_distill.reports.reports.save", save)
    copied = studies.copy("one seed", tmp_path)
    report_results(copied.parent)
    return copied


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("damage", [cut, flip, lambda content: content + b"x", lambda content: b""])
@pytest.mark.parametrize("name", [*MADE, "figures/metrics.png", "figures/differences.svg"])
def test_a_damaged_file_of_a_study_is_made_again(
    folder: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    before = contents(folder.parent)
    told = verdict(folder.name, results=folder.parent)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert verdict(folder.name, results=folder.parent) == told
    assert report_study(folder) == told
    assert contents(folder.parent) == before


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", [*MADE, "figures/effects.png"])
def test_a_damaged_file_of_the_overview_is_made_again(
    folder: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    results = folder.parent
    before = contents(results)
    (results / name).write_bytes(damage((results / name).read_bytes()))
    report_results(results)
    assert contents(results) == before


def test_what_killed_writers_left_is_removed_though_the_report_is_up_to_date(folder: Path) -> None:
    before = contents(folder.parent)
    for place in (folder, folder / "figures", folder.parent, folder.parent / "figures"):
        (place / ".report.html.0123456789ab.tmp").write_text("half")
    (folder / ".tables.0123456789ab.tmp").mkdir()
    report_results(folder.parent)
    assert contents(folder.parent) == before
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"../outside": {"size": 1, "sha256": "0"}},
        {"/dev/zero": {"size": 0, "sha256": "0"}},
        {"report.html": {"size": "big", "sha256": "0"}},
        [],
        None,
    ],
)
def test_a_manifest_that_is_none_of_ours_vouches_for_nothing(tmp_path: Path, files: Any) -> None:
    (tmp_path / "report.html").write_text("x")
    write_manifest(tmp_path, "made", ["report.html"])
    assert is_whole(tmp_path, "made", ["report.html"])
    assert not is_whole(tmp_path, "other", ["report.html"])
    assert not is_whole(tmp_path, "made", ["report.html", "report.md"])
    (tmp_path / "manifest.json").write_text(json.dumps({"made_from": "made", "files": files}))
    assert not is_whole(tmp_path, "made", ["report.html"])


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    assert not is_whole(folder, "anything", [])
    environment = folder / "environment.json"
    environment.unlink(missing_ok=True)
    os.mkfifo(environment)
    assert is_damaged(environment)


def test_pictures_are_not_written_through_a_link(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notours.png").write_text("mine")
    shutil.rmtree(folder / "figures")
    (folder / "figures").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="must be no symbolic link"):
        report_study(folder)
    assert [path.name for path in elsewhere.iterdir()] == ["notours.png"]
