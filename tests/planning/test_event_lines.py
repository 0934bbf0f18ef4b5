"""Events of trials as JSON objects."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

from tests.records.made import study_of, trials_of
from tune_distill.planning.event_lines import Displays, EventLines
from tune_distill.planning.events import Report
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.printable import json_line


def plan_of(study: str) -> Any:
    return SimpleNamespace(
        num_to_run=3, resolved=SimpleNamespace(study=SimpleNamespace(name=study))
    )


def report(step: int = 20, eval_loss: float = 2.5, resumed_step: int = 0) -> Report:
    return Report(step, 189, eval_loss, resumed_step, "node1", 7)


def test_json_lines_contain_the_events() -> None:
    output = io.StringIO()
    display = EventLines(lambda event: print(json_line(event), file=output), lambda: "t")
    trial = trials_of(study_of({"data.source": ["/data/[bold]" + "long" * 50 + "\n"]}))[0]
    display.begin([plan_of("own")], 2)
    display.started(trial)
    display.progressed(trial, report())
    display.retried(trial, 1, "worker died")
    display.progressed(trial, report(40, 2.0, resumed_step=20))
    display.ended(TrialRecord(trial, "failed", False, 'a "reason"'))
    display.close()
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert {(line.pop("study"), line.pop("time")) for line in lines} == {("own", "t")}
    assert lines == [
        {"event": "begin", "num_trials": 3, "num_workers": 2},
        {"event": "started", "trial_id": trial.trial_id, "run_key": trial.run_key},
        {
            "event": "progressed",
            "trial_id": trial.trial_id,
            "step": 20,
            "num_steps": 189,
            "eval_loss": 2.5,
            "resumed_step": 0,
            "node": "node1",
            "pid": 7,
            "train_loss": None,
        },
        {
            "event": "retried",
            "trial_id": trial.trial_id,
            "num_retries": 1,
            "error": "worker died",
        },
        {
            "event": "progressed",
            "trial_id": trial.trial_id,
            "step": 40,
            "num_steps": 189,
            "eval_loss": 2.0,
            "resumed_step": 20,
            "node": "node1",
            "pid": 7,
            "train_loss": None,
        },
        {"event": "ended", "trial_id": trial.trial_id, "state": "failed", "error": 'a "reason"'},
    ]


def test_each_display_gets_every_event() -> None:
    heard: list[list[Any]] = [[], []]
    display = Displays(*(EventLines(events.append, lambda: "t") for events in heard))
    trial = trials_of("smoothing")[0]
    display.begin([plan_of("smoothing")], 2)
    display.started(trial)
    display.progressed(trial, report())
    display.retried(trial, 1, "worker died")
    display.ended(TrialRecord(trial, "failed", False, "reason"))
    display.close()
    assert heard[0] == heard[1]
    assert [event["event"] for event in heard[0]] == [
        "begin",
        "started",
        "progressed",
        "retried",
        "ended",
    ]
