"""Commands whose terminal is gone, that get two signals, or that find damaged results."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pandas as pd
import pytest

import tune_distill
from tests.faults.studies import LONG
from tests.guest import INLINE
from tests.processes import kill_all, processes, wait_until
from tune_distill.study import main

pytestmark = pytest.mark.slow

PIPE_BYTES = 4096


def start(*arguments: str, stdout: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tune_distill.study", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)


def of_session(process: subprocess.Popen[bytes]) -> list[int]:
    return [each.pid for each in processes() if each.session == process.pid]


def num_waiting(pipe: int) -> int:
    """Return the number of unread bytes in the pipe."""
    found = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, found)
    return found[0]


@pytest.mark.proof
def test_two_signals_end_a_study_that_blocks_on_its_output_and_its_ray(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    study = start("smoothing", *LONG, "--json", "--results", str(tmp_path), stdout=writing)
    try:
        wait_until(lambda: num_waiting(reading) > PIPE_BYTES - 400, "a full pipe")
        # The command blocks in a write now, or will at its next line.
        time.sleep(2)
        assert len(of_session(study)) > 3
        study.send_signal(signal.SIGTERM)
        time.sleep(1)
        if study.poll() is None:
            study.send_signal(signal.SIGTERM)
        assert study.wait(timeout=10) == 1
        wait_until(lambda: not of_session(study), "the end of its Ray", 60)
    finally:
        study.kill()
        assert study.stderr is not None
        study.stderr.close()
        kill_all(lambda: of_session(study))
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("flag", ["--json", pytest.param("", marks=pytest.mark.proof)])
def test_a_study_whose_reader_leaves_goes_on_to_its_end(tmp_path: Path, flag: str) -> None:
    flags = [flag] if flag else []
    study = start("smoothing", *INLINE, *flags, "--results", str(tmp_path), stdout=subprocess.PIPE)
    assert study.stdout is not None
    study.stdout.readline()
    study.stdout.close()
    _, errors = study.communicate(timeout=300)
    assert (study.returncode, errors) == (0, b"")
    assert tune_distill.load("smoothing", results=tmp_path)["state"].tolist() == ["complete"] * 3
    assert (tmp_path / "report.html").is_file()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert main(["smoothing", *INLINE, "--results", str(folder), "--quiet"]) == 0
    # Run it once more, so that all trials are marked as reused.
    assert main(["smoothing", *INLINE, "--results", str(folder), "--quiet"]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".store" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("size", [0, 20, -20])
def test_the_same_command_makes_damaged_results_again(results: Path, size: int) -> None:
    """Any file may be truncated; leftovers of killed writers are removed too."""
    before = contents(results)
    names = [name for name in before if "/" in name or "report" in name]
    for name in names:
        (results / name).write_bytes(before[name][:size])
    for place in (results, results / "smoothing", results / "smoothing" / "figures"):
        (place / ".x.parquet.0123456789ab.tmp").write_bytes(b"half")
    command = ["smoothing", *INLINE, "--results", str(results), "--quiet"]
    assert main(command) == 0
    after = contents(results)
    environment = json.loads(after.pop("smoothing/environment.json"))
    assert environment["packages"]["torch"]
    # The damaged file's former environment is unknown, so it is missing, and all reports say so.
    assert after.keys() == before.keys() - {"smoothing/environment.json"}
    for name in ("trials.csv", "study.yaml", "trials.parquet", "predictions.parquet"):
        assert after[f"smoothing/{name}"] == before[f"smoothing/{name}"], name
    assert main(command) == 0
    assert contents(results).items() >= after.items()


def test_names_with_brackets_are_shown_completely(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["[/beam] 4", "old [v1]", "old [v2]", ":smile:", "\x1b[31mred"]
    cases = {name: {"decode.temperature": 0.5 + n / 10} for n, name in enumerate(names)}
    study = {
        "name": "own",
        "question": "Which [b]way[/b]\x1b[2J?",
        "vary": {"way": {"type": "cases", "cases": cases}},
        "overrides": {"decode.strategy": "sample"},
    }
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(study))
    assert main([str(path), *INLINE, "--results", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.replace("\n", "").isprintable()
    for name in (*names[:-1], r"\x1b[31mred", r"[b]way[/b]\x1b[2J"):
        assert name in out
    assert set(pd.read_parquet(tmp_path / "own" / "trials.parquet")["way"]) == set(names)
