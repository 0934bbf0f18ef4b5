"""Events of trials as JSON objects, for programs that watch a study and for its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tune_distill.planning.events import Display, Report
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Plan, Trial


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventLines(Display):
    """A display that passes each event to a function as a mapping: `event`, `study`, `time`, ...

    A study's `begin` is passed just before its first other event, because a planned study may not
    run at all.
    """

    def __init__(
        self, emit: Callable[[Mapping[str, Any]], object], now: Callable[[], str] = utc_now
    ) -> None:
        self._emit, self._now = emit, now
        self._not_begun: dict[str, dict[str, int]] = {}

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        self._not_begun = {
            plan.resolved.study.name: {"num_trials": plan.num_to_run, "num_workers": num_workers}
            for plan in plans
        }

    def started(self, trial: Trial) -> None:
        self._pass_on_of(trial, "started", run_key=trial.run_key)

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        self._pass_on_of(trial, "retried", num_retries=num_retries, error=reason)

    def progressed(self, trial: Trial, report: Report) -> None:
        self._pass_on_of(trial, "progressed", **asdict(report))

    def ended(self, record: TrialRecord) -> None:
        self._pass_on_of(record.trial, "ended", state=record.state, error=record.error)

    def _pass_on_of(self, trial: Trial, event: str, **values: object) -> None:
        begin = self._not_begun.pop(trial.study, None)
        if begin is not None:
            self._pass_on("begin", trial.study, **begin)
        self._pass_on(event, trial.study, trial_id=trial.trial_id, **values)

    def _pass_on(self, event: str, study: str, **values: object) -> None:
        self._emit({"event": event, "study": study, "time": self._now(), **values})


class Displays(Display):
    """Several displays as one, each of which gets every event."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        for display in self._displays:
            display.begin(plans, num_workers)

    def started(self, trial: Trial) -> None:
        for display in self._displays:
            display.started(trial)

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        for display in self._displays:
            display.retried(trial, num_retries, reason)

    def progressed(self, trial: Trial, report: Report) -> None:
        for display in self._displays:
            display.progressed(trial, report)

    def ended(self, record: TrialRecord) -> None:
        for display in self._displays:
            display.ended(record)

    def close(self) -> None:
        for display in self._displays:
            display.close()
