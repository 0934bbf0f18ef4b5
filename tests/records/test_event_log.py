"""The event log: lines stay whole when writers die, and errors in it do not stop a study."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tune_distill.records.event_log import EventLog


def events(results: Path, study: str = "own") -> list[dict[str, Any]]:
    text = (results / study / "events.jsonl").read_text(encoding="ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_appended_to_their_studies(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "results")
    log.append({"study": "own", "n": 1})
    log.append({"study": "other", "n": 2})
    EventLog(tmp_path / "results").append({"study": "own", "loss": math.nan, "name": "é\x7f\n"})
    assert events(tmp_path / "results") == [
        {"study": "own", "n": 1},
        {"study": "own", "loss": None, "name": "é\x7f\n"},
    ]
    assert events(tmp_path / "results", "other") == [{"study": "other", "n": 2}]


def test_a_truncated_line_does_not_damage_the_next(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append({"study": "own", "n": 1})
    path = tmp_path / "own" / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    log.append({"study": "own", "n": 2})
    assert json.loads(path.read_text().splitlines()[-1]) == {"study": "own", "n": 2}


APPEND = """
import sys
from pathlib import Path
from tune_distill.records.event_log import EventLog
log = EventLog(Path(sys.argv[1]))
for number in range(300):
    log.append({"study": "own", "writer": sys.argv[2], "n": number, "text": "x" * 5000})
"""


def test_lines_of_several_commands_stay_whole(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), name]) for name in "ab"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found = events(tmp_path)
    for name in "ab":
        assert [event["n"] for event in found if event["writer"] == name] == list(range(300))


@pytest.mark.parametrize("obstacle", ["a folder", "a link", "no folder", "a full disk"])
def test_a_log_that_cannot_be_written_is_reported_once(
    tmp_path: Path, obstacle: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own" / "events.jsonl"
    if obstacle == "a folder":
        path.mkdir(parents=True)
    elif obstacle == "a link":
        path.parent.mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    elif obstacle == "no folder":
        path.parent.write_text("a file")
    else:
        path.parent.mkdir()
        path.symlink_to("/dev/full")
    log = EventLog(tmp_path)
    for number in range(3):
        log.append({"study": "own", "n": number})
    (message,) = caplog.messages
    assert message.startswith("events.jsonl is not written any more: ")
    assert not (tmp_path / "elsewhere").exists()


def test_a_studys_name_cannot_lead_out_of_the_results(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    EventLog(tmp_path / "results").append({"study": "../other", "n": 1})
    assert "events.jsonl is not written any more" in caplog.text
    assert not (tmp_path / "other").exists()
