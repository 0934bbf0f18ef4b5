"""The digested bytes are the loaded ones, and only regular files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tune_distill.students import package_files
from tune_distill.students.package_files import PackageError, read_package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 9)
    (folder / "README.md").write_text("Not read.")
    return folder


PATTERNS = ("*.json", "model*.safetensors")


def test_the_digest_is_of_names_and_contents_that_match(folder: Path) -> None:
    before = read_package(folder, PATTERNS)
    assert dict(before.contents) == {"config.json": b"{}", "model.safetensors": b"\0" * 9}
    (folder / "README.md").write_text("Another one.")
    assert read_package(folder, reversed(PATTERNS)).digest == before.digest
    (folder / "config.json").write_text("[]")
    assert read_package(folder, PATTERNS).digest != before.digest
    (folder / "config.json").rename(folder / "other.json")
    (folder / "other.json").write_text("{}")
    assert read_package(folder, PATTERNS).digest != before.digest


def test_copies_are_the_bytes_that_were_digested(folder: Path) -> None:
    files = read_package(folder, PATTERNS)
    (folder / "config.json").write_text("changed")
    with files.copied(["config.json"]) as copies:
        assert [path.name for path in copies.iterdir()] == ["config.json"]
        assert (copies / "config.json").read_text() == "{}"
    assert not copies.exists()


def test_a_link_to_a_file_is_a_file(folder: Path, tmp_path: Path) -> None:
    # The hub's cache consists of links.
    (folder / "config.json").rename(tmp_path / "blob")
    (folder / "config.json").symlink_to(tmp_path / "blob")
    assert read_package(folder, PATTERNS).contents["config.json"] == b"{}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("/nowhere/at/all"), "got a link that leads nowhere"),
        (lambda path: path.mkdir(), "got a folder"),
        (os.mkfifo, "got a device or a pipe"),
    ],
)
def test_what_is_no_file_is_refused(folder: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    make(folder / "extra.json")
    with pytest.raises(PackageError, match=rf"extra\.json must be a file, {message}"):
        read_package(folder, PATTERNS)


def test_a_huge_file_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_files, "LIMIT_BYTES", 8)
    (folder / "config.json").write_text("[1, 2, 3]")
    with pytest.raises(PackageError, match=r"config\.json must have at most 8 bytes, got 9"):
        read_package(folder, PATTERNS)
    (folder / "config.json").write_text("{}")
    # The limit does not apply to weights, which are as large as the model.
    assert len(read_package(folder, PATTERNS).contents["model.safetensors"]) == 9
