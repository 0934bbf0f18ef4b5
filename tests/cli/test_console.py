"""Names with brackets are shown unchanged everywhere, and control characters as escapes."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.analysis.test_summary import row
from tests.records.made import trials_of
from tune_distill.analysis.summary import failures, summary_table
from tune_distill.cli.console import TextConsole
from tune_distill.cli.preview import Preview
from tune_distill.cli.progress import LiveDisplay, PlainDisplay, QuietDisplay, choose_display
from tune_distill.records.trials import TrialRecord

NAMES = ["[/beam] 4", "old [v1]", "[red]x", ":smile:", "[link=http://x]y[/link]", "é 中文"]
HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\rb": r"a\rb",
    "\u202egpj": r"\u202egpj",
    "\x9b2J": r"\x9b2J",
    "\udcff": r"\udcff",
}
SHOWN = {name: name for name in NAMES} | HOSTILE


def printed(*parts: Any, console: type[Console] = TextConsole) -> str:
    file = io.StringIO()
    console(file=file, width=200).print(*parts)
    return file.getvalue()


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
def test_a_console_shows_strings_texts_and_cells_as_they_are(name: str, shown: str) -> None:
    table = Table(name)
    table.add_row(name)
    for part in (name, table):
        assert shown in printed(part)
    for part in (name, table, Text(name)):
        assert printed(part).replace("\n", "").isprintable()


@pytest.mark.parametrize("console", [TextConsole, Console])
def test_the_summary_table_keeps_brackets_in_names(console: type[Console]) -> None:
    rows = [row(way=name) for name in SHOWN]
    lines = printed(summary_table(["way"], rows, 200), console=console).splitlines()
    cells = [line[: line.index(" complete")].strip() for line in lines if " complete" in line]
    assert cells == list(SHOWN.values())


def test_columns_and_reasons_are_not_taken_for_markup() -> None:
    assert "[/b]" in printed(summary_table(["[/b]"], [row(**{"[/b]": 1})]))
    (line,) = failures([row("failed", trial_id="way=[/b]\x1b", error="no \x1b[2J\nsecond")])
    assert line == r"failed: way=[/b]\x1b: no \x1b[2J\nsecond"


def named(name: str) -> TrialRecord:
    (trial, *_) = trials_of("smoothing")
    trial = replace(trial, trial_id=f"way={name}")
    return TrialRecord(trial, "failed", False, f"it broke at {name}")


PLAN = SimpleNamespace(
    num_to_run=1, resolved=SimpleNamespace(study=SimpleNamespace(name="smoothing"))
)


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
@pytest.mark.parametrize("console", [TextConsole, Console])
@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay, QuietDisplay])
def test_displays_show_the_names_of_trials_unchanged(
    kind: Any, console: type[Console], name: str, shown: str
) -> None:
    file = io.StringIO()
    display, record = kind(console(file=file, width=200)), named(name)
    display.begin([PLAN], 1)
    display.started(record.trial)
    display.retried(record.trial, 1, f"lost {name}")
    if kind is LiveDisplay:
        console(file=file, width=200).print(display.render())
    display.ended(record)
    display.close()
    assert file.getvalue().replace("\n", "").isprintable()
    assert (shown in file.getvalue()) == (kind is not QuietDisplay)


@pytest.mark.parametrize("name", SHOWN)
def test_events_are_valid_json(name: str) -> None:
    file = io.StringIO()
    display = choose_display(TextConsole(file=file), quiet=False, as_json=True)
    record = named(name)
    display.started(record.trial)
    display.ended(record)
    text = file.getvalue()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text.splitlines()[-1])["error"] == f"it broke at {name}"


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
def test_a_plan_shows_names_unchanged(name: str, shown: str) -> None:
    text = Preview("own", 1, 1, 0, "soon", (f"way={name}: to run",)).text()
    assert f"  way={shown}: to run" in printed(text)


def test_a_live_display_may_still_move_the_cursor() -> None:
    file = io.StringIO()
    with Live(Text("a\x1b[2Jb"), console=TextConsole(file=file, width=80, force_terminal=True)):
        pass
    assert "\x1b[?25l" in file.getvalue()
    assert r"a\x1b[2Jb" in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()
