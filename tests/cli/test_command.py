"""The output of a command, as text, as JSON and with --quiet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.table import Table

from tune_distill.cli.command import Command
from tune_distill.cli.options import parse_arguments

LONG = "verdict: " + "nothing is detectably better " * 20
SUMMARY = {"study": "own", "lines": [LONG, "[b]measured[/b]"]}


def told(folder: Path, *flags: str) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("heading")
    table.add_row("cell")
    with Command.open(parse_arguments(["smoothing", f"--results={folder}", *flags])) as command:
        command.tell(["\nown: why?", table], SUMMARY)


def test_a_studys_results_are_shown_in_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(tmp_path)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["", "own: why?", "heading", "cell", LONG.rstrip(), "[b]measured[/b]"]


def test_with_json_only_the_verdict_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    told(tmp_path, "--json")
    assert json.loads(capsys.readouterr().out) == {"event": "verdict", **SUMMARY}


def test_with_quiet_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(tmp_path, "--quiet")
    assert capsys.readouterr().out == ""


def test_output_of_libraries_is_not_among_the_lines_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Command.open(parse_arguments(["smoothing", f"--results={tmp_path}", "--json"])) as command:
        print("a library says so")
        command.tell([], SUMMARY)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["event"] == "verdict"
    assert shown.err == "a library says so\n"
