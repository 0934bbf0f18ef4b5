"""The driver's side of a relayed folder, without Ray."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tune_distill.spec.errors import StoreError
from tune_distill.tuning.porter import Porter


class TestPorter:
    def test_a_piece_that_is_sent_twice_is_stored_once(self, tmp_path: Path) -> None:
        porter = Porter(tmp_path)
        for _ in range(2):
            porter.write_piece("u", 0, b"abc")
            porter.write_piece("u", 3, b"def")
        assert not porter.exists("x")
        porter.finish_upload("u", "runs/x")
        porter.finish_upload("u", "runs/x")
        assert porter.read("runs/x") == b"abcdef"
        assert list((tmp_path / ".uploads").iterdir()) == []

    def test_an_upload_survives_the_porters_death(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        porter = Porter(tmp_path)
        porter.write_piece("u", 0, b"abc")

        def die(source: Path, target: Path) -> None:
            raise SystemExit

        monkeypatch.setattr("os.replace", die)
        with pytest.raises(SystemExit):
            porter.finish_upload("u", "runs/x")
        monkeypatch.undo()
        # Ray repeats the call to the restarted actor.
        Porter(tmp_path).finish_upload("u", "runs/x")
        assert porter.read("runs/x") == b"abc"

    def test_finishing_an_unknown_upload_makes_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="must have been sent whole"):
            Porter(tmp_path).finish_upload("u", "runs/x")

    def test_abandoned_uploads_are_removed(self, tmp_path: Path) -> None:
        porter = Porter(tmp_path)
        for upload in ("old", "new"):
            porter.write_piece(upload, 0, b"abc")
        os.utime(tmp_path / ".uploads" / "old", (0, 0))
        porter.remove_abandoned("runs/k")
        assert [path.name for path in (tmp_path / ".uploads").iterdir()] == ["new"]

    def test_creating_again_with_the_same_content_succeeds(self, tmp_path: Path) -> None:
        porter = Porter(tmp_path)
        assert porter.create("x", b"mine")
        assert porter.create("x", b"mine")
        assert not porter.create("x", b"theirs")
        assert porter.read("x") == b"mine"

    @pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", ".uploads/../../x"])
    def test_a_workers_name_that_leads_out_is_refused(self, tmp_path: Path, name: str) -> None:
        porter = Porter(tmp_path / "store")
        porter.write_piece("u", 0, b"abc")
        attempts: list[Callable[[], object]] = [
            lambda: porter.write_piece(name, 0, b"x"),
            lambda: porter.finish_upload("u", name),
            lambda: porter.drop_upload(name),
            lambda: porter.read_piece(name, 0),
            lambda: porter.files(name),
        ]
        for attempt in attempts:
            with pytest.raises(StoreError, match="a file's name must"):
                attempt()
        assert not (tmp_path / "x").exists()

    def test_a_link_in_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        porter = Porter(tmp_path / "store")
        porter.write_piece("u", 0, b"abc")
        (tmp_path / "store" / "link").symlink_to(tmp_path / "secret")
        (tmp_path / "store" / ".uploads" / "v").symlink_to(tmp_path / "secret")
        attempts: list[Callable[[], object]] = [
            lambda: porter.read_piece("link", 0),
            lambda: porter.finish_upload("u", "link"),
            lambda: porter.write_piece("v", 0, b"x"),
            lambda: porter.files(""),
        ]
        for attempt in attempts:
            with pytest.raises(StoreError, match="must be no symbolic link"):
                attempt()
        assert (tmp_path / "secret").read_text() == "secret"
