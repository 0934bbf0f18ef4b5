import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tune_distill.records.files import (
    atomic_directory,
    atomic_file,
    create_file,
    put,
    replaced_together,
    require_writable,
    write_text,
)
from tune_distill.records.refusals import explained
from tune_distill.spec.errors import StoreError


def write_directory(path: Path, text: str) -> None:
    with atomic_directory(path) as temporary:
        (temporary / "part").write_text(text)


def write_below(folder: Path) -> None:
    write_text(folder / "table", "text")


def make_below(folder: Path) -> None:
    write_directory(folder / "student", "text")


def write_half_a_file(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def write_half_a_directory(path: Path) -> None:
    with atomic_directory(path) as temporary:
        (temporary / "part").write_text("half")
        raise ZeroDivisionError


def fill_the_disk(path: Path) -> None:
    with atomic_file(path) as temporary, Path("/dev/full").open("w") as full:
        temporary.write_text("half")
        full.write("the rest")
        full.flush()


WRITERS = [write_below, make_below, require_writable]


def test_missing_folders_are_made_for_a_text(tmp_path):
    path = tmp_path / "a" / "b" / "table"
    write_text(path, "café")
    assert path.read_bytes() == "café".encode()
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["table"]


def test_a_directory_replaces_the_one_before(tmp_path):
    path = tmp_path / "a" / "student"
    with atomic_directory(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "weights").write_text("old")
    assert (path / "deep" / "weights").read_text() == "old"
    write_directory(path, "new")
    assert (names(path), names(path.parent)) == (["part"], ["student"])


@pytest.mark.parametrize("before", [None, "old"])
def test_a_writer_that_raises_changes_no_file(tmp_path, before):
    path = tmp_path / "table"
    if before is not None:
        path.write_text(before)
    with pytest.raises(ZeroDivisionError):
        write_half_a_file(path)
    assert names(tmp_path) == ([] if before is None else ["table"])
    assert before is None or path.read_text() == before


@pytest.mark.parametrize("before", [None, "old"])
def test_a_writer_that_raises_changes_no_directory(tmp_path, before):
    path = tmp_path / "student"
    if before is not None:
        write_directory(path, before)
    with pytest.raises(ZeroDivisionError):
        write_half_a_directory(path)
    assert names(tmp_path) == ([] if before is None else ["student"])
    assert before is None or (path / "part").read_text() == before


def test_a_writer_does_not_remove_the_files_of_a_living_one(tmp_path):
    path = tmp_path / "student"
    write_directory(path, "old")
    with atomic_directory(path) as slow:
        (slow / "part").write_text("slow")
        write_directory(path, "quick")
        assert (path / "part").read_text() == "quick"
    assert (path / "part").read_text() == "slow"
    assert names(tmp_path) == ["student"]


def test_readers_see_the_old_or_the_new_file_and_never_half(tmp_path):
    path = tmp_path / "table"
    texts = {letter * 200_000 for letter in "ab"}
    write_text(path, "a" * 200_000)
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for letter in "ba" * 25:
        write_text(path, letter * 200_000)
    done.set()
    reader.join()
    assert seen <= texts


def test_nothing_is_at_the_path_before_the_block_ends(tmp_path):
    with atomic_file(tmp_path / "table") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "table").exists()
    with atomic_directory(tmp_path / "student") as temporary:
        (temporary / "part").write_text("half")
        assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_below_a_regular_file_nothing_can_be_written(tmp_path, write: Callable[[Path], None]):
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(StoreError, match=r"must be writable, got .*; choose another folder"):
        write(file)
    with pytest.raises(StoreError, match=r"must be writable, got .*; choose another folder"):
        write(file / "deeper")
    assert file.read_text() == "text"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("write", WRITERS)
def test_proc_is_refused(write: Callable[[Path], None]):
    with pytest.raises(StoreError, match=r"^/proc/results.* must be writable, got "):
        write(Path("/proc/results"))


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_no_temporary_files(tmp_path, write: Callable[[Path], None]):
    with files_at_most(2), pytest.raises(StoreError, match="must be writable, got File too large"):
        write(tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_keeps_the_old_table(tmp_path):
    path = tmp_path / "table"
    write_text(path, "old")
    with pytest.raises(StoreError, match=f"^{path}: .*No space left on device; free some space"):
        fill_the_disk(path)
    assert (path.read_text(), names(tmp_path)) == ("old", ["table"])


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space, or choose another folder"),
        (errno.EDQUOT, "free some of your quota, or choose another folder"),
        (errno.EROFS, "choose a folder that is not read-only"),
        (errno.EACCES, "choose a folder that you may write to"),
        (errno.EPERM, "choose a folder that you may write to"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_refusals_of_the_file_system_have_a_remedy(number, remedy):
    cause = OSError(number, os.strerror(number))
    with pytest.raises(StoreError) as caught, explained(Path("/r/trials.csv")):
        raise cause
    assert str(caught.value) == (
        f"/r/trials.csv: must be writable, got {os.strerror(number)}; {remedy} "
        "with --results or --store"
    )
    assert caught.value.__cause__ is cause


def test_only_the_file_systems_errors_are_explained():
    with pytest.raises(ValueError, match=r"^ours$"), explained(Path("/r")):
        raise ValueError("ours")


def test_a_writable_folder_is_made_and_stays_empty(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Limit the size of every file to `size` bytes in the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_get_the_permissions_of_the_umask(tmp_path):
    path = tmp_path / "weights"
    with atomic_file(path) as temporary:
        temporary.touch(mode=0o600)
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_umask_is_never_set(tmp_path, monkeypatch):
    """Setting the umask would change the permissions of files that other threads write."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    write_text(tmp_path / "a" / "table", "x")
    write_directory(tmp_path / "b", "x")
    assert create_file(tmp_path / "c", b"x")
    (tmp_path / "upload").touch(mode=0o600)
    put(tmp_path / "upload", tmp_path / "d")
    require_writable(tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert len(modes) == 1


def write_together(folder: Path, texts: dict[str, str], last: str = "b") -> None:
    with replaced_together(folder, last=last) as new:
        for name, text in texts.items():
            write_text(new / name, text)


def write_half_together(folder: Path) -> None:
    with replaced_together(folder, last="b") as new:
        (new / "a").write_text("2")
        raise ZeroDivisionError


def test_files_are_replaced_together_and_others_stay(tmp_path, monkeypatch):
    write_together(tmp_path / "s", {"a": "1", "b": "1", "c": "1"})
    (tmp_path / "s" / "own").write_text("mine")
    moved = []
    monkeypatch.setattr(os, "replace", lambda old, new: moved.append(Path(new).name))
    with replaced_together(tmp_path / "s", last="b") as new:
        for name in "abc":
            (new / name).write_text("2")
    assert moved == ["a", "c", "b"]
    monkeypatch.undo()
    write_together(tmp_path / "s", {"a": "2", "b": "2"})
    texts = {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}
    assert texts == {"a": "2", "b": "2", "c": "1", "own": "mine"}


def test_an_error_leaves_all_old_files(tmp_path):
    write_together(tmp_path, {"a": "1", "b": "1"})
    with pytest.raises(ZeroDivisionError):
        write_half_together(tmp_path)
    with (
        files_at_most(2),
        pytest.raises(StoreError, match=f"^{tmp_path}/b: must be writable, got File too large"),
    ):
        write_together(tmp_path, {"a": "2", "b": "222"})
    (tmp_path / "c").mkdir()
    with pytest.raises(StoreError, match=f"^{tmp_path}/c: must be writable, got Is a directory"):
        write_together(tmp_path, {"a": "2", "b": "2", "c": "2"})
    assert {name: (tmp_path / name).read_text() for name in "ab"} == {"a": "1", "b": "1"}
    assert names(tmp_path) == ["a", "b", "c"]


def test_a_probe_of_a_killed_process_is_removed(tmp_path):
    (tmp_path / ".probe.0123456789ab.tmp").write_bytes(b"0" * 4096)
    require_writable(tmp_path)
    assert names(tmp_path) == []
