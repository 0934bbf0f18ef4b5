"""The watcher, called like Tune calls it, but without Tune."""

from __future__ import annotations

import logging
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from tests.records.made import (
    METRICS,
    FakeInputs,
    LocalStore,
    finish,
    finish_run,
    history,
    resolved,
)
from tune_distill.planning.ledger import Ledger
from tune_distill.planning.plans import plans
from tune_distill.planning.queue import PlannedQueue, Trainings
from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.planning.work import Work
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import Trial
from tune_distill.tuning.alive import RayLostError, begin_watch, end_watch
from tune_distill.tuning.watcher import Watcher

DONE = {"metrics": METRICS, "trained": False, "messages": []}


class World:
    """The watcher of a temperature study with a store, and with a clock that tests set."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self.now_s = store, 0.0
        self.all_ended: list[Any] = []
        study, inputs = resolved("temperature"), FakeInputs()
        (self.plan,) = plans(study, inputs, store)
        self.ends: list[TrialRecord] = []
        display: Any = SimpleNamespace(
            **{name: lambda *told: None for name in ("started", "retried", "progressed")},
            ended=self.ends.append,
        )
        work = Work(
            [self.plan],
            [self.plan],
            inputs,
            store,
            Limits(),
            display,
            lambda plan, records: self.all_ended.append((plan, records)),
        )
        self.ledger = Ledger(work)
        self.trials: dict[str, Trial] = {}
        search: Any = SimpleNamespace(trial=self.trials.__getitem__)
        resources = TrialResources(1.0, 1.0, 2)
        self.watcher = Watcher(self.ledger, search, Limits(), resources, clock=lambda: self.now_s)

    def left(self) -> list[TrialRecord]:
        """Finish the ledger; return the records of trials that had not ended."""
        num_before = len(self.ends)
        self.ledger.finish([PlannedQueue([], Trainings(lambda key: False))], "why")
        return self.ends[num_before:]

    def started(self, number: int) -> Any:
        """Start a trial of the plan in a worker; return Tune's trial."""
        self.trials[f"t{number}"] = self.trials["again"] = self.plan.trials[number]
        tunes = SimpleNamespace(
            trial_id=f"t{number}",
            temporary_state=SimpleNamespace(ray_actor="a worker"),
            last_result=DONE,
            num_failures=0,
            pickled_error_file=None,
        )
        self.watcher.on_trial_start(0, [], tunes)
        return tunes

    def reused(self, number: int, retried: bool) -> bool:
        """Return whether the trial is recorded as reused if its last attempt found its run."""
        tunes = self.started(number)
        if retried:
            self.watcher.on_trial_recover(0, [], tunes)
        finish(self.store, self.plan.trials[number])
        self.watcher.on_trial_complete(0, [], tunes)
        return self.ends[-1].reused


@pytest.fixture
def world(tmp_path) -> World:
    return World(LocalStore(tmp_path))


def test_a_run_of_an_earlier_attempt_does_not_count_as_reused(world):
    assert not world.reused(0, retried=True)
    # The other trials reuse that run, whether or not their first worker survives.
    assert world.reused(1, retried=False)
    assert world.reused(2, retried=True)


def test_a_run_that_was_stored_before_is_reused_by_a_retry(tmp_path):
    store = LocalStore(tmp_path)
    finish_run(store, World(store).plan.trials[0])
    assert World(store).reused(0, retried=True)


@pytest.fixture
def nodes(monkeypatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.nodes", lambda: found)
    return found


@pytest.mark.parametrize("kind", ["none", "dead", "too small"])
def test_a_study_that_fits_on_no_node_warns_once(world, nodes, caplog, kind):
    if kind != "none":
        resources = {"CPU": 8.0} if kind == "too small" else {"CPU": 8.0, "GPU": 1.0}
        nodes.append({"Alive": kind != "dead", "Resources": resources})
    with caplog.at_level(logging.WARNING):
        for now_s in (0.0, 59.0, 61.0, 200.0):
            world.now_s = now_s
            world.watcher.on_step_begin(0, [])
    (message,) = caplog.messages
    assert message.startswith("no node is left that can hold a trial: 2 at once, each with 1 CPU")


def test_a_study_that_waits_for_resources_or_runs_does_not_warn(world, nodes, caplog):
    nodes.append({"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}})
    world.now_s = 100.0
    world.watcher.on_step_begin(0, [])
    nodes.clear()
    world.started(0)
    for now_s in (200.0, 300.0):
        world.now_s = now_s
        world.watcher.on_step_begin(0, [])
    assert caplog.messages == []


def test_a_study_whose_ray_has_ended_ends_at_its_next_step(world):
    begin_watch(SimpleNamespace(ended=lambda: "its process raylet (pid 7) has ended"))
    try:
        with pytest.raises(
            RayLostError, match=r"got: its process raylet .*; give the same command"
        ):
            world.watcher.on_step_begin(0, [])
    finally:
        end_watch()
    world.watcher.on_step_begin(0, [])


def test_a_trial_gets_all_its_retries_again_at_each_checkpoint(world):
    tunes = world.started(0)
    tunes.num_failures = 2
    result = {"step": 20, "num_steps": 40, "eval_loss": 2.0, "resumed_step": 0, "node": "n"}
    told = {"messages": [], "num_rows_before": 0, "new_rows": [], "pid": 1}
    world.watcher.on_trial_result(0, [], tunes, result | told)
    assert tunes.max_failures == 2 + Limits().max_retries


def test_an_unfinished_trial_keeps_its_history(world):
    tunes = world.started(1)
    rows = history(3.0, 2.0)
    result = {
        "step": 20,
        "num_steps": 40,
        "eval_loss": 2.0,
        "resumed_step": 0,
        "node": "n",
        "pid": 1,
    }
    told = {"messages": [], "num_rows_before": 0, "new_rows": [asdict(row) for row in rows]}
    world.watcher.on_trial_result(0, [], tunes, result | told)
    left = {record.trial.trial_id: record for record in world.left()}
    assert set(left) == {trial.trial_id for trial in world.plan.trials}
    assert {(record.state, record.error) for record in left.values()} == {("failed", "why")}
    assert left.pop(world.plan.trials[1].trial_id).history == rows
    assert {record.history for record in left.values()} == {()}


def test_all_ended_is_called_when_the_last_trial_has_ended(world):
    for number, _ in enumerate(world.plan.trials):
        assert world.all_ended == []
        world.reused(number, retried=False)
    [(plan, records)] = world.all_ended
    assert plan is world.plan
    assert [record.trial for record in records] == list(plan.trials)


def test_a_setting_that_runs_twice_has_one_record(world):
    for number in (0, 1, 2):
        world.reused(number, retried=False)
    again = world.started(2)
    again.trial_id = "again"
    world.watcher.on_trial_start(0, [], again)
    assert world.all_ended == []
    world.watcher.on_trial_complete(0, [], again)
    [(_, records)] = world.all_ended
    assert len(records) == 3


def test_a_second_end_of_a_trial_is_not_counted(world):
    for number in (0, 1, 2):
        tunes = world.started(number)
        finish(world.store, world.plan.trials[number])
        for _ in range(2):
            world.watcher.on_trial_start(0, [], tunes)
            world.watcher.on_trial_complete(0, [], tunes)
    assert world.all_ended == []
