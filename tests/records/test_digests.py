"""Digests: a changed file is reported as damage, and reading never waits for a pipe or device."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tune_distill.records import digests
from tune_distill.records.digests import (
    DamagedError,
    FileDigest,
    digest_of,
    digest_of_bytes,
    digests_in,
    open_regular,
    require,
    verified,
)

SOME = FileDigest(3, hashlib.sha256(b"abc").hexdigest())


@given(content=st.binary(max_size=200_000))
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_digest_is_the_sha256_of_the_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = FileDigest(len(content), hashlib.sha256(content).hexdigest())
    assert digest_of(path) == digest_of_bytes(content) == expected
    require(path, expected)


def test_a_folders_files_are_named_below_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("weights", "a/b"):
        (tmp_path / name).write_bytes(b"abc")
    assert digests_in(tmp_path) == {"weights": SOME, "a/b": SOME}


def test_another_content_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, reason in ((b"abd", "another SHA-256"), (b"ab", "has 2 bytes, and 3")):
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=f"^file .*{reason}"):
            require(path, SOME)
    path.unlink()
    with pytest.raises(DamagedError, match="file is missing"):
        require(path, SOME)


def test_a_large_file_is_hashed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, hashed = tmp_path / "large", []
    hash_file = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: hashed.append(1) or hash_file(*a))
    path.write_bytes(bytes(100_000))
    before = digest_of(path)
    assert digest_of(path) == before
    assert len(hashed) == 1
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"\1")
    # Tools that copy a file over another may restore its old time of change.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(path) != before
    assert len(hashed) == 2


def test_a_change_while_a_file_is_read_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with verified(path, SOME):
        assert path.read_bytes() == b"abc"
    with pytest.raises(DamagedError, match="changed while"), verified(path, SOME):
        path.write_bytes(b"abd")


@pytest.mark.parametrize(
    "kind", ["folder", "link", "dangling", "pipe", "socket", "device", "below"]
)
def test_an_irregular_file_is_damage_and_does_not_block(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    (tmp_path / "real").write_bytes(b"abc")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "real")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "none")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path = tmp_path / "real" / "file"
    with pytest.raises(DamagedError, match="file is no regular file"):
        open_regular(path)
    with pytest.raises(DamagedError):
        require(path, SOME)


def test_small_files_are_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    digest_of(tmp_path / "small")
    assert str(tmp_path / "small") not in digests._hashed
