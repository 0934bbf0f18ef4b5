"""The report is prepared once, when a study's last trials leave a worker idle."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace
from typing import Any

from tune_distill.cli.tail import Tail


def trial(number: int) -> Any:
    return SimpleNamespace(study="own", trial_id=f"t{number}")


def ended(number: int) -> Any:
    return SimpleNamespace(trial=trial(number))


def test_preparation_begins_once_when_no_trial_waits_and_a_worker_is_idle() -> None:
    ready = Event()
    calls: list[int] = []

    def get_ready() -> None:
        calls.append(1)
        ready.set()

    display = Tail(get_ready)
    display.begin([SimpleNamespace(num_to_run=2), SimpleNamespace(num_to_run=1)], 2)  # type: ignore[list-item]
    for number in (0, 1):
        display.started(trial(number))
    display.ended(ended(0))
    assert not calls
    display.started(trial(2))
    display.progressed(trial(2), None)  # type: ignore[arg-type]
    display.ended(ended(1))
    assert ready.wait(10)
    display.retried(trial(2), 1, "why")
    display.ended(ended(2))
    display.close()
    assert calls == [1]


def test_preparation_does_not_begin_after_the_last_trial() -> None:
    calls: list[int] = []
    display = Tail(lambda: calls.append(1))
    display.begin([SimpleNamespace(num_to_run=1)], 1)  # type: ignore[list-item]
    display.started(trial(0))
    display.ended(ended(0))
    display.close()
    assert not calls


def test_preparation_begins_with_the_last_trial_if_it_leaves_a_worker_idle() -> None:
    ready = Event()
    display = Tail(ready.set)
    display.begin([SimpleNamespace(num_to_run=3)], 2)  # type: ignore[list-item]
    for number in (0, 1):
        display.started(trial(number))
    # Both trials end before the last one begins.
    for number in (0, 1):
        display.ended(ended(number))
    assert not ready.is_set()
    display.started(trial(2))
    assert ready.wait(10)
    display.close()
