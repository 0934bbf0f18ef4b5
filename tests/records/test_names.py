"""Untrusted names: joined inside a folder, or refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.records.digests import DamagedError
from tune_distill.records.names import (
    entry,
    joined,
    read_file,
    require_name,
    require_no_links,
    require_tree,
)
from tune_distill.spec.errors import StoreError

UNSAFE = [
    "..",
    "../x",
    "a/..",
    "a/../b",
    "a/../../../../x",
    ".",
    "./x",
    "a/./b",
    "",
    "a//b",
    "a/",
    "/etc/passwd",
    "//host/x",
    "C:/x",
    "c:x",
    "a\\b",
    "..\\x",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    "a\x7f",
    "x" * 256,
    "é" * 128,
    "/".join(["x" * 250] * 5),
]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_lead_outside_is_refused(tmp_path, name):
    for join in (joined, entry, read_file):
        with pytest.raises(StoreError, match=r"a file's name must .*, got "):
            join(tmp_path, name)


@pytest.mark.parametrize(
    "name", ["a", "a/b", ".store/x", "a..b/...", "a b", "é" * 127, "x" * 255, "ab:c", "-"]
)
def test_other_names_are_paths_below_the_folder(tmp_path, name):
    assert joined(tmp_path, name) == tmp_path / name
    assert entry(tmp_path, name) == tmp_path / name


def test_a_message_shows_a_long_name_in_part(tmp_path):
    with pytest.raises(StoreError) as refusal:
        joined(tmp_path, "x\x1b" * 10_000)
    assert len(str(refusal.value)) < 1500
    assert "\x1b" not in str(refusal.value)


@given(st.text(alphabet="ab./\\:\0\n ", max_size=12) | st.text(max_size=300))
def test_random_names_never_lead_out_of_the_folder(name):
    folder = Path("/base/folder")
    try:
        path = joined(folder, name)
    except StoreError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(folder)
    assert os.path.normpath(path) != str(folder)
    assert os.path.normpath(path) == str(path)


class TestLinks:
    @pytest.fixture
    def folder(self, tmp_path):
        """Return a folder with links of every kind that lead outside."""
        outside = tmp_path / "outside"
        (outside / "deep").mkdir(parents=True)
        (outside / "file").write_text("secret")
        folder = tmp_path / "store"
        (folder / "real").mkdir(parents=True)
        (folder / "file").symlink_to(outside / "file")
        (folder / "linked").symlink_to(outside)
        (folder / "dangling").symlink_to(tmp_path / "nowhere")
        (folder / "real" / "linked").symlink_to(outside / "deep")
        return folder

    @pytest.mark.parametrize(
        "name", ["file", "linked", "linked/file", "dangling", "dangling/x", "real/linked/new"]
    )
    def test_no_link_inside_is_followed(self, folder, name):
        for join in (joined, read_file):
            with pytest.raises(StoreError, match="must be no symbolic link"):
                join(folder, name)

    def test_the_folder_may_be_a_link_itself(self, folder, tmp_path):
        (folder / "real" / "file").write_text("x")
        (tmp_path / "alias").symlink_to(folder)
        assert joined(tmp_path / "alias", "real/file").read_text() == "x"
        assert read_file(tmp_path / "alias", "real/file") == b"x"

    def test_an_entry_may_be_a_link_but_no_parent_of_it(self, folder):
        assert entry(folder, "file") == folder / "file"
        with pytest.raises(StoreError, match="must be no symbolic link"):
            entry(folder, "linked/file")

    def test_a_folder_with_links_is_refused(self, folder, tmp_path):
        (tmp_path / "plain" / "deep").mkdir(parents=True)
        (tmp_path / "plain" / "deep" / "file").touch()
        require_no_links(tmp_path / "plain")
        for linked in (folder, folder / "file", folder / "real"):
            with pytest.raises(StoreError, match="must be no symbolic link"):
                require_no_links(linked)


class TestReading:
    def test_a_file_is_read(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_bytes(b"x\0y")
        assert read_file(tmp_path, "a/b") == b"x\0y"

    @pytest.mark.parametrize("name", ["no", "no/such"])
    def test_a_missing_file_is_an_error_with_its_path(self, tmp_path, name):
        with pytest.raises(FileNotFoundError) as caught:
            read_file(tmp_path, name)
        assert caught.value.filename == str(tmp_path / name)

    @pytest.mark.parametrize("name", ["a", "f/below"])
    def test_a_folder_and_a_file_below_a_file_are_damage(self, tmp_path, name):
        (tmp_path / "a").mkdir()
        (tmp_path / "f").touch()
        with pytest.raises(DamagedError):
            read_file(tmp_path, name)

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(StoreError, match="is no regular file"):
            read_file(tmp_path, "pipe")


def test_a_listing_has_no_file_that_is_a_folder_too():
    require_tree(["a/b", "a/c", "ab"], "s3://bucket")
    with pytest.raises(StoreError, match=r"s3://bucket: .* got 'a' beside 'a/b'"):
        require_tree(["a", "a/b"], "s3://bucket")
    with pytest.raises(StoreError, match="have no part"):
        require_tree(["a", "../b"], "s3://bucket")


def test_the_error_of_a_name_says_where_it_was_found():
    assert require_name("a/b", "s3://bucket") == "a/b"
    with pytest.raises(StoreError, match=r"^s3://bucket: a file's name must be relative, got '/x'"):
        require_name("/x", "s3://bucket")
