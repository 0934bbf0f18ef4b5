"""Commands go on without a traceback if their output is closed, full, or lacks characters."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.made_studies import Studies
from tune_distill.__main__ import main
from tune_distill.cli.terminal import Escaping, Tolerant, output_is_gone, run_front_door
from tune_distill.spec.errors import StoreError

STUDY, REPORT, SUBMIT = (f"tune_distill.{name}" for name in ("study", "report", "submit"))
WARNING = "warning: standard output: must take what is shown, got {}\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study with an up-to-date report."""
    folder = Studies(tmp_path_factory.mktemp("results")).folder("one seed")
    done = shell(f"{sys.executable} -m {REPORT} '{folder}'")
    assert done.returncode == 0, done.stderr
    return folder


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )


SLOWER = ("--help", "--dry-run", "--json", "report", "usage")


@pytest.fixture(params=["--list", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOWER)])
def command(request: pytest.FixtureRequest, results: Path, tmp_path: Path) -> str:
    """Return a shell command that only shows something."""
    kinds = {
        "--dry-run": f"{STUDY} all --dry-run --results {tmp_path}",
        "--json": f"{STUDY} all --dry-run --json --results {tmp_path}",
        "report": f"{REPORT} '{results}'",
        "usage": f"{SUBMIT} --help",
    }
    return f"{sys.executable} -m {kinds.get(request.param, f'{STUDY} {request.param}')}"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_ends_quietly_if_its_reader_leaves(command: str, unbuffered: str) -> None:
    # The reader leaves before anything is written.
    done = shell(f"{command} | exec 0<&-", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("output", "reason"),
    [("> /dev/full", "No space left on device"), (">&-", "it is closed")],
)
def test_refused_output_is_reported_once(
    command: str, output: str, reason: str, unbuffered: str
) -> None:
    done = shell(f"{command} {output}", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, WARNING.format(reason))


def test_a_command_without_any_stream_succeeds(command: str) -> None:
    assert shell(f"{command} >&- 2>&- <&-").returncode == 0
    assert shell(f"{command} > /dev/full 2>&1").returncode == 0


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX"}],
)
def test_characters_that_the_output_lacks_are_escaped(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nquestion: Höher?\n"
        "vary: {way: {type: cases, cases: {é—中: {train.label_smoothing: 0.0}, "
        "b: {train.label_smoothing: 0.2}}}}\n",
        encoding="utf-8",
    )
    command = f"{sys.executable} -m {STUDY} {path} --dry-run --results {tmp_path}"
    done = shell(command, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"way=\xe9\u2014\u4e2d,seed=0" in done.stdout or "way=é—中,seed=0" in done.stdout


@pytest.mark.parametrize("module", [STUDY, REPORT, SUBMIT])
def test_control_characters_in_errors_are_escaped(module: str) -> None:
    done = shell(f"{sys.executable} -m {module} $'./\\x1b[31m\\x07' --address http://127.0.0.1:1")
    done = done if module != REPORT else shell(f"{sys.executable} -m {module} $'./\\x1b[31m\\x07'")
    assert done.returncode == 2
    assert r"\x1b[31m\x07" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_the_next_file_is_not_taken_for_the_output(tmp_path: Path) -> None:
    """A process without an output would give its number to the next file that it opens."""
    program = (
        "import subprocess, sys\n"
        "from tune_distill.cli.terminal import run_as_process\n"
        "def main():\n"
        "    with open(sys.argv[1], 'w') as table:\n"
        "        subprocess.run(['sh', '-c', 'echo noise; echo noise >&2'])\n"
        "    return 3\n"
        "run_as_process(main)\n"
    )
    path = tmp_path / "table"
    done = shell(f'{sys.executable} -c "{program}" {path} >&- 2>&- <&-')
    assert (done.returncode, path.read_text()) == (3, "")


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_command_knows_that_its_output_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Closed())
    seen = []

    def run() -> int:
        seen.append(output_is_gone())
        print("one")
        print("two", flush=True)
        seen.append(output_is_gone())
        return 7

    assert run_front_door(run, "interrupted") == 7
    assert seen == [False, True]
    assert isinstance(sys.stdout, Closed)


def test_only_progress_bars_may_move_the_cursor() -> None:
    file = io.StringIO()
    stream = Escaping(Tolerant(file, print), bars=True)
    for part in ("\r 10%|#", "\n", "\x1b[A\x1b[A", "error: \r\x1b[A\n", "\x1b[Ax"):
        stream.write(part)
    assert file.getvalue() == "\r 10%|#\n\x1b[A\x1b[Aerror: \\r\\x1b[A\n\\x1b[Ax"


def test_nothing_is_written_after_a_refusal() -> None:
    heard: list[str] = []
    closed = io.StringIO()
    closed.close()
    stream = Tolerant(closed, heard.append)
    for _ in range(2):
        stream.write("text")
        stream.flush()
    assert heard == ["I/O operation on closed file"]


def test_control_characters_in_messages_and_logs_are_escaped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    level = logging.getLogger().level

    def run() -> int:
        logging.getLogger("tune_distill.own").warning("read \x1b[2J")
        logging.getLogger("tune_distill.own").info("not shown")
        raise StoreError("a\x1b[31m")

    assert run_front_door(run, "interrupted") == 2
    assert capsys.readouterr().err == "WARNING: read \\x1b[2J\nerror: a\\x1b[31m\n"
    assert logging.getLogger().handlers == []
    assert logging.getLogger().level == level


@pytest.mark.parametrize("place", ["", "  "])
@pytest.mark.parametrize(
    ("command", "where"),
    [
        (["study", "smoothing", "--dry-run", "--results"], "--results"),
        (["study", "smoothing", "--dry-run", "--store"], "--store"),
        (["report"], "results"),
        (["submit", "fetch", "--address", "http://127.0.0.1:1", "--to"], "--to"),
    ],
)
def test_a_place_without_a_name_is_refused(
    command: list[str],
    where: str,
    place: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, place]) == 2
    message = f"error: {where}: must name a folder or a URI, got {place!r}"
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
