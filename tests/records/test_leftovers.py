"""Leftovers of killed writers are removed; files of living writers are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.records.made import LocalStore, finish, finish_run, trials_of
from tune_distill.records.files import atomic_directory
from tune_distill.records.leftovers import alone, remove_abandoned, scratch
from tune_distill.spec.errors import StoreError

WRITERS = {
    "file": "with atomic_file(path) as temporary:\n    temporary.write_text('half')",
    "directory": "with atomic_directory(path) as folder:\n    (folder / 'a').write_text('half')",
    "scratch": "with scratch() as folder:\n    (folder / 'a').write_text('half')",
}


@contextmanager
def writer(kind: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that stops in the middle of writing."""
    code = (
        "from pathlib import Path\n"
        "from tune_distill.records.files import atomic_directory, atomic_file\n"
        "from tune_distill.records.leftovers import scratch\n"
        f"path = Path({str(path)!r})\n{WRITERS[kind]}\n"
        "    print('writing', flush=True)\n    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(path.parent)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def clear(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "scratch":
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with scratch():
            pass
    else:
        remove_abandoned(folder)


@pytest.mark.parametrize("kind", WRITERS)
def test_files_of_killed_writers_are_removed_and_of_living_ones_stay(kind, tmp_path, monkeypatch):
    with writer(kind, tmp_path / "target") as living:
        with writer(kind, tmp_path / "target") as dying:
            assert len(list(tmp_path.iterdir())) == 2
            dying.send_signal(signal.SIGKILL)
            dying.wait()
        clear(kind, tmp_path, monkeypatch)
        assert len(list(tmp_path.iterdir())) == 1
        living.communicate("\n")
        assert living.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ([] if kind == "scratch" else ["target"])


def test_finishing_a_run_removes_leftovers_of_killed_writers(tmp_path):
    store = LocalStore(tmp_path)
    (trial, *_) = trials_of()
    folder = store.run_dir(trial.run_key)
    (folder / "student-of-another").mkdir(parents=True)
    with writer("file", store.checkpoint_path(trial.run_key)) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(folder.iterdir())) == 2
    finish_run(store, trial)
    (student,) = folder.glob("student-*")
    assert {path.name for path in folder.iterdir()} == {"identity.json", "run.json", student.name}


def test_finishing_an_evaluation_removes_leftovers_of_killed_writers(tmp_path):
    store = LocalStore(tmp_path)
    (trial, *_) = trials_of()
    with writer("file", store.predictions_path(trial.evaluation_key)) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    finish(store, trial)
    names = {path.name for path in store.evaluation_dir(trial.evaluation_key).iterdir()}
    assert names == {"evaluation.json", "predictions.parquet"}


def test_a_full_scratch_disk_is_refused_with_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"must be writable, got .* with TMPDIR"), scratch():
        pass


def test_many_writers_of_one_directory_all_succeed(tmp_path):
    """No writer fails, and the directory at the end is that of one of them."""

    def write(text: str) -> None:
        for _ in range(40):
            with atomic_directory(tmp_path / "d") as temporary:
                for name in "ab":
                    (temporary / name).write_text(text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "wxyz"))
    assert (tmp_path / "d" / "a").read_text() == (tmp_path / "d" / "b").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_writing_and_clearing_up_do_not_disturb_each_other(tmp_path):
    def write(number: int) -> None:
        for _ in range(50):
            with atomic_directory(tmp_path / f"d{number}") as temporary:
                (temporary / "a").write_text("x")

    def clear_up(number: int) -> None:
        for _ in range(300):
            remove_abandoned(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, number) for number in range(2)]
        jobs += [pool.submit(clear_up, number) for number in range(2)]
        for job in jobs:
            job.result()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d0", "d1"]


def test_a_lock_admits_one_thread_at_a_time(tmp_path):
    inside, most = 0, 0

    def enter(_: int) -> None:
        nonlocal inside, most
        with alone(tmp_path / "below" / "lock"):
            inside += 1
            most = max(most, inside)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(200)))
    assert most == 1


def test_a_link_is_not_taken_for_a_leftover(tmp_path):
    """In a shared folder, another user's link may lead to files that must not be removed."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    for target in ("mine", "mine/file"):
        link = tmp_path / f".{target.replace('/', '-')}.0123456789ab.tmp"
        link.symlink_to(tmp_path / target)
        remove_abandoned(tmp_path)
        assert link.is_symlink()
    assert (tmp_path / "mine" / "file").exists()
