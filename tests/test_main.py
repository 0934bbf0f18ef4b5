"""The common command: `tune-distill` and `python -m tune_distill`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import tune_distill
from tune_distill.__main__ import COMMANDS, main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= COMMANDS.keys()


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tune_distill {tune_distill.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_its_own_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m tune_distill.{command} ")


@pytest.mark.parametrize("arguments", [["study", "smoothing"], ["smoothing"]])
def test_a_study_runs_by_its_name_alone(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--dry-run", "--quiet", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "3 trials, 3 trainings, 0 hits\n"


def test_an_unknown_command_or_study_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smothing"]) == 2
    assert "did you mean 'smoothing'?" in capsys.readouterr().err


def test_the_console_script_ends_with_the_commands_exit_code() -> None:
    (script,) = entry_points(group="console_scripts", name="tune-distill")
    assert script.value == "tune_distill.__main__:run"
    for command in ([sys.executable, "-m", "tune_distill"], [script_of(script.name)]):
        ended = subprocess.run([*command, "smothing"], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (2, "")


def script_of(name: str) -> str:
    return str(Path(sys.executable).parent / name)
