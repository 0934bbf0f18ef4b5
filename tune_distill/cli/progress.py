"""Displays of running studies: a table on a terminal, lines in a log, or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_distill.planning.event_lines import EventLines
from tune_distill.planning.events import Display, Report
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.printable import json_line, printable_line

_NUM_ROWS = 12


@dataclass
class TrialProgress:
    """The progress of one trial."""

    trial_id: str
    started_s: float
    step: int = 0
    total_steps: int | None = None
    eval_loss: float | None = None
    state: str = "starting"
    num_retries: int = 0
    ended_s: float | None = None

    @property
    def state_text(self) -> str:
        """Return the state, with the number of the retry if there is one."""
        return f"{self.state}, retry {self.num_retries}" if self.num_retries else self.state


@dataclass
class StudyProgress:
    """The progress of the running studies, updated by the display's events.

    `clock` returns seconds since any fixed time.
    """

    clock: Callable[[], float]
    num_trials: int = 0
    num_workers: int = 1
    trials: dict[str, TrialProgress] = field(default_factory=dict)

    @property
    def num_ended(self) -> int:
        return sum(trial.ended_s is not None for trial in self.trials.values())

    def start(self, trial_id: str) -> None:
        self.trials[trial_id] = TrialProgress(trial_id, self.clock())

    def retry(self, trial_id: str, num_retries: int) -> None:
        trial = self.trials[trial_id]
        trial.state, trial.num_retries = "starting", num_retries

    def advance(self, trial_id: str, step: int, total_steps: int, eval_loss: float | None) -> None:
        trial = self.trials[trial_id]
        trial.step, trial.total_steps, trial.eval_loss = step, total_steps, eval_loss
        trial.state = "decoding" if step == total_steps else "training"

    def end(self, trial_id: str, state: str) -> None:
        # A trial that waited for a failed run ends without a start.
        trial = self.trials.setdefault(trial_id, TrialProgress(trial_id, self.clock()))
        trial.state, trial.ended_s = state, self.clock()

    def eta_s(self) -> float | None:
        """Return the estimated seconds until all trials have ended; None before any evaluation.

        The estimate follows from ended trials, or else from steps.
        """
        now = self.clock()
        durations = [
            trial.ended_s - trial.started_s
            for trial in self.trials.values()
            if trial.ended_s is not None
        ] or [
            (now - trial.started_s) * trial.total_steps / trial.step
            for trial in self.trials.values()
            if trial.total_steps and trial.step
        ]
        if not durations:
            return None
        mean = sum(durations) / len(durations)
        running = [trial for trial in self.trials.values() if trial.ended_s is None]
        left = sum(max(0.0, mean - (now - trial.started_s)) for trial in running)
        left += mean * (self.num_trials - len(self.trials))
        return left / max(1, min(self.num_workers, self.num_trials - self.num_ended))


class _Tracking(Display):
    """Keeps a StudyProgress, which the displays below show."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.progress = StudyProgress(clock)
        self._num_studies = 1

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        num_trials = sum(plan.num_to_run for plan in plans)
        self.progress = StudyProgress(self.progress.clock, num_trials, num_workers)
        self._num_studies = max(self._num_studies, len(plans))

    def started(self, trial: Trial) -> None:
        self.progress.start(self._name(trial))

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        self.progress.retry(self._name(trial), num_retries)

    def progressed(self, trial: Trial, report: Report) -> None:
        steps = (report.step, report.num_steps)
        self.progress.advance(self._name(trial), *steps, report.eval_loss)

    def ended(self, record: TrialRecord) -> None:
        self.progress.end(self._name(record.trial), record.state)

    def _name(self, trial: Trial) -> str:
        """Return the trial's name, with that of its study if several studies run."""
        return f"{trial.study} {trial.trial_id}" if self._num_studies > 1 else trial.trial_id


class QuietDisplay(_Tracking):
    """Shows nothing."""


class PlainDisplay(_Tracking):
    """Prints a line when a trial starts, loses its worker or ends, for logs and pipes."""

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        super().begin(plans, num_workers)
        self._line(f"{self.progress.num_trials} trials to run, {num_workers} at a time")

    def started(self, trial: Trial) -> None:
        super().started(trial)
        self._line(f"started  {self._name(trial)}")

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        super().retried(trial, num_retries, reason)
        self._line(f"retried  {self._name(trial)} ({reason}) {num_retries}")

    def ended(self, record: TrialRecord) -> None:
        super().ended(record)
        done = f"{self.progress.num_ended}/{self.progress.num_trials}"
        eta = self.progress.eta_s()
        left = f", about {duration_text(eta)} left" if eta else ""
        name = self._name(record.trial)
        self._line(f"{record.state:8} {name} ({_ending(record)}) {done}{left}")

    def _line(self, text: str) -> None:
        # Use Text, because rich takes brackets and emoji codes in a string for markup.
        self.console.print(Text(printable_line(text)), soft_wrap=True)


class LiveDisplay(_Tracking):
    """Shows a table that stays in place, with the running trials and the last ended ones."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, transient=True
        )

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        super().begin(plans, num_workers)
        self._live.start()

    def close(self) -> None:
        self._live.stop()

    def render(self) -> Group:
        """Return the present table."""
        progress = self.progress
        table = Table(box=None, pad_edge=False)
        for heading in ("trial", "state", "progress", "step", "eval loss"):
            table.add_column(heading, overflow="fold")
        for trial in _most_telling(progress):
            table.add_row(*_cells(trial))
        eta = progress.eta_s()
        left = f", about {duration_text(eta)} left" if eta else ""
        if not progress.trials:
            left = ", workers are starting"
        head = f"{progress.num_ended} of {progress.num_trials} trials{left}"
        return Group(Text(head, style="bold"), table)


def choose_display(console: Console, *, quiet: bool, as_json: bool) -> Display:
    """Return the display: JSON or nothing on request, a table on a terminal, and else lines."""
    if as_json:
        # The console's own lock keeps lines whole, because verdicts come from another thread.
        return EventLines(lambda event: console.out(json_line(event), highlight=False))
    if quiet:
        return QuietDisplay(console)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def duration_text(seconds: float) -> str:
    """Return a text such as `48 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _most_telling(progress: StudyProgress) -> list[TrialProgress]:
    """Return the running trials, then the last ended ones, as many as fit into the table."""
    running = [trial for trial in progress.trials.values() if trial.ended_s is None]
    ended = [trial for trial in progress.trials.values() if trial.ended_s is not None]
    ended.sort(key=lambda trial: trial.ended_s or 0.0, reverse=True)
    return (running + ended)[:_NUM_ROWS]


def _cells(trial: TrialProgress) -> tuple[Text, str, ProgressBar | str, str, str]:
    total = trial.total_steps
    bar = ProgressBar(total=total or 1, completed=trial.step, width=24) if total else ""
    step = f"{trial.step}/{total}" if total else ""
    loss = "" if trial.eval_loss is None else f"{trial.eval_loss:.4f}"
    return Text(printable_line(trial.trial_id)), trial.state_text, bar, step, loss


def _ending(record: TrialRecord) -> str:
    if record.error is not None:
        return record.error
    if record.evaluation is not None:
        accuracy = record.evaluation.metrics["label_accuracy"]
        return f"accuracy {accuracy:.3f}" + (", reused its run" if record.reused else "")
    return f"at step {record.history[-1].step}"
