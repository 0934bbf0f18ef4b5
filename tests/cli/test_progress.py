import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.records.made import evaluation_record, history, run_record, study_of, trials_of
from tune_distill.cli.progress import (
    LiveDisplay,
    PlainDisplay,
    QuietDisplay,
    StudyProgress,
    choose_display,
    duration_text,
)
from tune_distill.planning.event_lines import EventLines
from tune_distill.planning.events import Report
from tune_distill.records.trials import TrialRecord

FIRST, SECOND, THIRD = trials_of("smoothing")
STUDY = SimpleNamespace(study=SimpleNamespace(name="own"))
PLAN = SimpleNamespace(num_to_run=3, resolved=STUDY)


def report(step: int = 20, eval_loss: float = 2.5, resumed_step: int = 0) -> Report:
    return Report(step, 189, eval_loss, resumed_step, "node1", 7)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output) -> Console:
    return Console(file=output, width=120)


def complete(trial, **changes) -> TrialRecord:
    return TrialRecord(
        trial, "complete", False, None, run_record(trial), evaluation_record(**changes)
    )


def test_a_trial_goes_from_starting_to_its_end(clock):
    progress = StudyProgress(clock, num_trials=2, num_workers=1)
    progress.start("a")
    assert progress.trials["a"].state == "starting"
    progress.advance("a", 20, 189, 2.5)
    assert (progress.trials["a"].state, progress.trials["a"].step) == ("training", 20)
    progress.advance("a", 189, 189, 2.0)
    assert (progress.trials["a"].state, progress.trials["a"].eval_loss) == ("decoding", 2.0)
    assert progress.num_ended == 0
    clock.now += 5
    progress.end("a", "complete")
    assert (progress.trials["a"].state, progress.trials["a"].ended_s) == ("complete", 105.0)
    assert progress.num_ended == 1


def test_a_trial_may_end_without_having_started(clock):
    progress = StudyProgress(clock, num_trials=1)
    progress.end("a", "failed")
    assert (progress.num_ended, progress.trials["a"].state) == (1, "failed")


def test_the_time_left_is_unknown_until_a_trial_has_ended(clock):
    progress = StudyProgress(clock, num_trials=4, num_workers=2)
    assert progress.eta_s() is None
    progress.start("a")
    progress.start("b")
    assert progress.eta_s() is None


def test_the_time_left_equals_hand_computed_values(clock):
    progress = StudyProgress(clock, num_trials=4, num_workers=2)
    progress.start("a")
    progress.start("b")
    clock.now += 10
    progress.end("a", "complete")
    # b has run as long as a trial takes; c and d take 2 x 10 s on two workers.
    assert progress.eta_s() == 10.0
    progress.start("c")
    clock.now += 4
    # b is overdue and counts as 0 s; c has 6 s left and d 10.
    assert progress.eta_s() == 8.0
    clock.now += 2
    progress.end("b", "pruned")
    # The mean is now 13 s: c has 7 s left and d 13.
    assert progress.eta_s() == 10.0
    progress.end("c", "failed")
    progress.start("d")
    # The mean is (10 + 16 + 6) / 3, and one worker has the last trial.
    assert progress.eta_s() == pytest.approx(32 / 3)
    progress.end("d", "complete")
    assert progress.eta_s() == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (48.4, "48 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (7559, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_plain_lines_report_starts_and_ends(console, output, clock):
    display = PlainDisplay(console, clock)
    display.begin([PLAN], 2)
    display.started(FIRST)
    display.started(SECOND)
    clock.now += 30
    display.progressed(FIRST, report())
    display.ended(complete(FIRST))
    display.ended(TrialRecord(SECOND, "pruned", False, history=history(3.0, 2.0)))
    display.started(THIRD)
    display.ended(TrialRecord(THIRD, "failed", False, "NonFiniteLossError: [step] 3"))
    display.close()
    assert output.getvalue().splitlines() == [
        "3 trials to run, 2 at a time",
        "started  label_smoothing=0.0,seed=0",
        "started  label_smoothing=0.1,seed=0",
        "complete label_smoothing=0.0,seed=0 (accuracy 0.750) 1/3, about 15 s left",
        "pruned   label_smoothing=0.1,seed=0 (at step 20) 2/3, about 30 s left",
        "started  label_smoothing=0.2,seed=0",
        "failed   label_smoothing=0.2,seed=0 (NonFiniteLossError: [step] 3) 3/3",
    ]


def test_lines_of_several_studies_name_them(console, output, clock):
    display = PlainDisplay(console, clock)
    display.begin([PLAN, PLAN], 2)
    display.started(FIRST)
    display.retried(FIRST, 1, "worker died")
    display.ended(complete(FIRST))
    # When replicates of one study come later, lines still name it.
    display.begin([PLAN], 2)
    display.started(SECOND)
    assert output.getvalue().splitlines() == [
        "6 trials to run, 2 at a time",
        "started  smoothing label_smoothing=0.0,seed=0",
        "retried  smoothing label_smoothing=0.0,seed=0 (worker died) 1",
        "complete smoothing label_smoothing=0.0,seed=0 (accuracy 0.750) 1/6",
        "3 trials to run, 2 at a time",
        "started  smoothing label_smoothing=0.1,seed=0",
    ]


def test_json_lines_report_the_start_of_each_study(console, output):
    other = SimpleNamespace(num_to_run=5, resolved=SimpleNamespace(study=SimpleNamespace(name="x")))
    display = choose_display(console, quiet=False, as_json=True)
    ours = SimpleNamespace(
        num_to_run=3, resolved=SimpleNamespace(study=SimpleNamespace(name="smoothing"))
    )
    display.begin([ours, other], 2)
    display.started(FIRST)
    display.started(SECOND)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    times = [datetime.fromisoformat(line.pop("time")) for line in lines]
    assert times == sorted(times)
    assert abs(datetime.now(UTC) - times[0]) < timedelta(minutes=10)
    assert [line["event"] for line in lines] == ["begin", "started", "started"]
    # The other study's trials may never start.
    assert lines[0] == {
        "event": "begin",
        "study": "smoothing",
        "num_trials": 3,
        "num_workers": 2,
    }


def test_plain_lines_report_lost_workers(console, output, clock):
    display = PlainDisplay(console, clock)
    display.begin([PLAN], 1)
    display.started(FIRST)
    display.retried(FIRST, 2, "worker died: [oom]")
    assert output.getvalue().splitlines()[-1] == (
        "retried  label_smoothing=0.0,seed=0 (worker died: [oom]) 2"
    )


def test_a_retried_trial_keeps_its_step_and_its_time(clock):
    progress = StudyProgress(clock, num_trials=1)
    progress.start("a")
    progress.advance("a", 20, 40, 2.5)
    clock.now += 10
    progress.retry("a", 1)
    trial = progress.trials["a"]
    assert (trial.state_text, trial.step, trial.started_s) == ("starting, retry 1", 20, 100.0)
    progress.advance("a", 30, 40, 2.0)
    assert trial.state_text == "training, retry 1"
    progress.end("a", "complete")
    assert trial.state_text == "complete, retry 1"


def test_plain_lines_mark_reused_runs_and_are_never_folded(output):
    trial = trials_of(study_of({"data.source": ["/data/" + "long" * 50]}))[0]
    display = PlainDisplay(Console(file=output, width=40))
    display.begin([PLAN], 1)
    display.ended(
        TrialRecord(trial, "complete", True, None, run_record(trial), evaluation_record())
    )
    last = output.getvalue().splitlines()[-1]
    assert trial.trial_id in last
    assert "(accuracy 0.750, reused its run)" in last


def test_the_quiet_display_prints_nothing(console, output, clock):
    display = QuietDisplay(console, clock)
    display.begin([PLAN], 2)
    display.started(FIRST)
    display.progressed(FIRST, report())
    display.ended(complete(FIRST))
    display.close()
    assert output.getvalue() == ""


def test_the_live_table_shows_trial_state_step_and_loss(console, output, clock):
    display = LiveDisplay(console, clock)
    assert "0 of 0 trials, workers are starting" in shown(display, console, output)
    display.begin([PLAN], 2)
    try:
        display.started(FIRST)
        display.started(SECOND)
        display.retried(SECOND, 3, "why")
        display.progressed(FIRST, report(eval_loss=2.54321))
        clock.now += 8
        display.ended(complete(SECOND))
        lines = shown(display, console, output).splitlines()
    finally:
        display.close()
    head, headings, *rows = [line.strip() for line in lines if line.strip()]
    assert head == "1 of 3 trials, about 4 s left"
    assert headings.split() == ["trial", "state", "progress", "step", "eval", "loss"]
    # Running trials come first.
    assert rows[0].split()[:2] == ["label_smoothing=0.0,seed=0", "training"]
    assert rows[0].split()[-2:] == ["20/189", "2.5432"]
    assert rows[1].split() == ["label_smoothing=0.1,seed=0", "complete,", "retry", "3"]
    assert len(rows) == 2


def test_the_live_table_keeps_brackets_in_names(console, output, clock):
    display = LiveDisplay(console, clock)
    cases = {"top [k=50]": {"train.num_epochs": 1}, "x [/y]": {"train.num_epochs": 2}}
    for trial in trials_of(study_of({"strategy": {"type": "cases", "cases": cases}})):
        display.started(trial)
    text = shown(display, console, output)
    assert "strategy=top [k=50],seed=0" in text
    assert "strategy=x [/y],seed=0" in text


def test_the_live_table_shows_running_and_recently_ended_trials(console, output, clock):
    display = LiveDisplay(console, clock)
    for number in range(30):
        display.progress.start(f"trial-{number:02}")
        clock.now += 1
        if number != 3:
            display.progress.end(f"trial-{number:02}", "complete")
    rows = shown(display, console, output).splitlines()[2:]
    names = [row.split()[0] for row in rows]
    assert names == ["trial-03", *(f"trial-{number}" for number in range(29, 18, -1))]


def test_the_display_depends_on_the_output(output):
    pipe = Console(file=output)
    terminal = Console(file=output, force_terminal=True)
    chosen = [
        choose_display(pipe, quiet=False, as_json=False),
        choose_display(terminal, quiet=False, as_json=False),
        choose_display(terminal, quiet=True, as_json=False),
        choose_display(terminal, quiet=True, as_json=True),
    ]
    assert [type(display) for display in chosen] == [
        PlainDisplay,
        LiveDisplay,
        QuietDisplay,
        EventLines,
    ]


def shown(display: LiveDisplay, console: Console, output: io.StringIO) -> str:
    """Return only the display's present output."""
    start = len(output.getvalue())
    console.print(display.render())
    return output.getvalue()[start:]
