"""The driver between plans and tables, with a fake executor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.planning.test_planning import SEARCH, choose
from tests.records.made import (
    FakeInputs,
    LocalStore,
    finish,
    finish_run,
    history,
    resolved,
    study_of,
)
from tune_distill.driver import Course, Session, conduct
from tune_distill.planning.plans import plans
from tune_distill.planning.resources import Limits, Nodes, ResourceRequest
from tune_distill.planning.work import Work, resources_for
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, complete_record

DISPLAY: Any = object()
LIMITS = Limits(max_retries=5)


def no_report(folder: Path) -> Any:
    raise AssertionError("nothing is judged here")


class Made:
    """A fake executor: trials end in reverse order, and those in `failing` fail.

    `interrupt` is called with the work before its plans run.
    """

    def __init__(self) -> None:
        self.failing: tuple[str, ...] = ()
        self.early = False
        self.interrupt: Callable[[Work], object] = lambda work: None
        self.ran: list[list[str]] = []
        self.works: list[Work] = []

    def nodes(self) -> Nodes:
        return [{"CPU": 2.0}]

    def close(self) -> None:
        pass

    def run(self, work: Work) -> bool:
        assert (work.display, work.limits) == (DISPLAY, LIMITS)
        self.works.append(work)
        self.interrupt(work)
        work.prepare()
        for plan in work.plans:
            pending = plan.pending
            if plan.asks_optuna:
                choose(plan.resolved, work.store, plan.num_to_run)
                found = plans(plan.resolved, work.inputs, work.store)
                (pending,) = (each.pending for each in found if each.asks_optuna)
            self.ran.append([trial.trial_id for trial in pending])
            work.all_ended(plan, [self._end(trial, work.store) for trial in reversed(pending)])
        return self.early

    def _end(self, trial: Any, store: Store) -> TrialRecord:
        if trial.trial_id in self.failing:
            return TrialRecord(trial, "failed", False, "why")
        finish(store, trial)
        return complete_record(trial, store, reused=False)


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def inputs() -> FakeInputs:
    return FakeInputs()


@pytest.fixture
def executor() -> Made:
    return Made()


class Outcome(NamedTuple):
    records: list[TrialRecord]
    ran: bool


def run(studies: Any, inputs: Any, store: Store, executor: Any) -> tuple[dict[str, Outcome], bool]:
    """Return the outcomes by study in the order of their ends, and why the session ended early."""
    outcomes: dict[str, Outcome] = {}

    def conclude(course: Course) -> None:
        name = course.resolved.study.name
        assert name not in outcomes
        outcomes[name] = Outcome(course.records(), course.ran)

    session = Session(studies, Path("unused"), store, executor, DISPLAY, no_report, LIMITS, inputs)
    early = conduct(session, conclude)
    return outcomes, early


def interrupted_among(store: Store, trial: Any) -> TrialRecord:
    return TrialRecord(trial, "failed", False, INTERRUPTED, history=history(3.0))


def ended(study: Any, inputs: FakeInputs, store: Store, executor: Any) -> Any:
    """Return the records of a study, and why it ended early."""
    outcomes, early = run([study], inputs, store, executor)
    return outcomes[study.study.name].records, early


def conducted(study: Any, inputs: FakeInputs, store: Store, executor: Any) -> list[TrialRecord]:
    """Return the records of a study that must not end early."""
    records, early = ended(study, inputs, store, executor)
    assert not early
    return records


def interrupting(work: Work) -> None:
    raise KeyboardInterrupt


def ids(records: list[TrialRecord]) -> list[str]:
    return [record.trial.trial_id for record in records]


def test_with_nothing_pending_the_executor_is_not_called(store, inputs, executor):
    study = resolved("smoothing", num_seeds=2)
    (plan,) = plans(study, inputs, store)
    for trial in plan.trials:
        finish(store, trial)
    records = conducted(study, inputs, store, executor)
    assert ids(records) == [trial.trial_id for trial in plan.trials]
    assert {(record.state, record.reused) for record in records} == {("complete", True)}
    assert (executor.ran, inputs.prepared) == ([], [])


def test_with_a_finished_search_the_executor_is_not_called(store, inputs, executor):
    study = resolved(SEARCH)
    choose(study, store, 4)
    (plan,) = plans(study, inputs, store)
    for trial in plan.trials[1:]:
        finish(store, trial)
    rows = history(3.0, 2.0)
    store.mark_pruned(plan.search_key, plan.trials[0].run_key, rows)
    records = conducted(study, inputs, store, executor)
    pruned = [record for record in records if record.state == "pruned"]
    assert pruned == [TrialRecord(plan.trials[0], "pruned", True, history=rows)]
    assert len(records) == 4


def test_only_pending_trials_run_and_every_trial_has_a_record(store, inputs, executor):
    study = resolved("smoothing")
    (plan,) = plans(study, inputs, store)
    finish(store, plan.trials[1])
    executor.failing = (plan.trials[2].trial_id,)
    records = conducted(study, inputs, store, executor)
    assert executor.ran == [[plan.trials[0].trial_id, plan.trials[2].trial_id]]
    assert [(record.trial.trial_id, record.state, record.reused) for record in records] == [
        ("label_smoothing=0.0,seed=0", "complete", False),
        ("label_smoothing=0.1,seed=0", "complete", True),
        ("label_smoothing=0.2,seed=0", "failed", False),
    ]
    assert [profile.train.label_smoothing for profile in inputs.prepared] == [0.0, 0.2]


def test_records_are_sorted_by_number_then_by_seed(store, inputs, executor):
    study = resolved(study_of({"train.batch_size": [16, 4, 8]}), num_seeds=2)
    assert ids(conducted(study, inputs, store, executor)) == [
        f"batch_size={size},seed={seed}" for size in (4, 8, 16) for seed in (0, 1)
    ]


@pytest.mark.parametrize("stored", [(), ("beam 8",), ("top-p 0.9", "beam 2")])
def test_records_follow_the_studys_order_of_names(store, inputs, executor, stored):
    study = resolved("decoding")
    (plan,) = plans(study, inputs, store)
    for trial in plan.trials:
        if trial.setting.values["strategy"] in stored:
            finish(store, trial)
    records = conducted(study, inputs, store, executor)
    names = [record.trial.setting.values["strategy"] for record in records]
    assert names == ["greedy", "beam 2", "beam 4", "beam 8", "top-k 50", "top-p 0.9"]


def test_records_are_sorted_by_the_first_field_with_null_last(store, inputs, executor):
    vary = {"data.num_train": [None, 200, 100], "decode.strategy": ["greedy", "beam"]}
    records = conducted(resolved(study_of(vary)), inputs, store, executor)
    assert [tuple(record.trial.setting.values.values()) for record in records] == [
        (number, name) for number in (100, 200, None) for name in ("greedy", "beam")
    ]


def test_a_search_runs_and_then_its_replicates(store, inputs, executor):
    study = resolved(SEARCH, num_seeds=3)
    records = conducted(study, inputs, store, executor)
    assert [len(ran) for ran in executor.ran] == [4, 8]
    rates = [record.trial.setting.values["learning_rate"] for record in records]
    assert rates == sorted(rates)
    assert [record.trial.seed for record in records] == [0, 1, 2] * 4
    # The second time everything is in the store.
    again = conducted(study, inputs, store, executor)
    assert (ids(again), len(executor.ran)) == (ids(records), 2)


def test_a_run_that_waits_for_its_decoding_needs_a_worker(store, inputs, executor):
    study = resolved("temperature")
    (plan,) = plans(study, inputs, store)
    finish_run(store, plan.trials[0])
    conducted(study, inputs, store, executor)
    assert len(executor.ran[0]) == 4


def test_an_interrupt_before_any_trial_keeps_complete_trials(store, inputs, executor):
    study = resolved("smoothing")
    (plan,) = plans(study, inputs, store)
    finish(store, plan.trials[1])
    executor.interrupt = interrupting
    records, early = ended(study, inputs, store, executor)
    assert early
    assert [(record.state, record.error) for record in records] == [
        ("failed", INTERRUPTED),
        ("complete", None),
        ("failed", INTERRUPTED),
    ]
    assert executor.ran == []


def test_an_interrupt_between_trials_keeps_stored_trials(store, inputs, executor):
    def interrupt(work: Work) -> None:
        (plan,) = work.plans
        finish(store, plan.pending[0])
        finish_run(store, plan.pending[1])
        raise KeyboardInterrupt

    executor.interrupt = interrupt
    records, early = ended(resolved("smoothing"), inputs, store, executor)
    assert early
    assert [record.state for record in records] == ["complete", "failed", "failed"]
    assert {record.error for record in records[1:]} == {INTERRUPTED}


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_an_interrupted_search_is_not_replicated(store, inputs, executor, num_seeds):
    executor.interrupt = interrupting
    study = resolved(SEARCH, num_seeds=num_seeds)
    # A finished search that is widened has no pending trials.
    choose(study, store, 2)
    for trial in next(iter(plans(study, inputs, store))).trials:
        finish(store, trial)
    records, early = ended(study, inputs, store, executor)
    assert (early, len(records), len(executor.works), executor.ran) == ("interrupted", 2, 1, [])


def test_a_search_that_the_runner_ended_early_is_not_replicated(store, inputs, executor):
    executor.early = True
    records, early = ended(resolved(SEARCH, num_seeds=3), inputs, store, executor)
    assert (early, len(executor.ran)) == ("failed", 1)
    assert {record.trial.seed for record in records} == {0}


def test_studies_run_together_and_each_is_concluded_when_its_trials_have_ended(
    store, inputs, executor
):
    longer = study_of({"train.num_epochs": [8, 9]}).model_copy(update={"name": "longer"})
    studies = [resolved(longer), resolved(SEARCH, num_seeds=2), resolved("temperature")]
    (plan,) = plans(studies[0], inputs, store)
    for trial in plan.trials:
        finish(store, trial)
    outcomes, early = run(studies, inputs, store, executor)
    # The first study was in the store completely; the search's replicates ended last.
    assert list(outcomes) == ["longer", "temperature", SEARCH.name]
    assert [outcome.ran for outcome in outcomes.values()] == [False, True, True]
    assert [len(outcome.records) for outcome in outcomes.values()] == [2, 4, 8]
    assert [len(ran) for ran in executor.ran] == [4, 4, 4]
    assert len(executor.works) == 2
    assert not early


def test_studies_that_had_not_begun_are_left_out_of_an_interrupted_command(store, inputs, executor):
    studies = [resolved("smoothing"), resolved("temperature"), resolved("sequence_length")]
    finish(store, next(plans(studies[1], inputs, store)).trials[1])
    executor.interrupt = interrupting
    outcomes, early = run(studies, inputs, store, executor)
    assert early
    assert list(outcomes) == ["temperature"]
    assert [record.state for record in outcomes["temperature"].records].count("complete") == 1


def test_inputs_are_prepared_for_all_studies(store, inputs, executor):
    studies = [resolved("smoothing"), resolved("sequence_length")]
    run(studies, inputs, store, executor)
    lengths = {profile.train.max_source_length for profile in inputs.prepared}
    assert (len(inputs.prepared), lengths) == (9, {16, 32, 128})


def test_a_study_whose_first_trial_was_interrupted_is_concluded(store, inputs, executor):
    def interrupt(work: Work) -> None:
        plan = work.plans[0]
        work.all_ended(plan, [interrupted_among(store, trial) for trial in plan.pending])
        raise KeyboardInterrupt

    executor.interrupt = interrupt
    studies = [resolved("smoothing"), resolved("sequence_length")]
    outcomes, early = run(studies, inputs, store, executor)
    assert early
    assert list(outcomes) == ["smoothing"]
    assert outcomes["smoothing"].ran
    assert {record.error for record in outcomes["smoothing"].records} == {INTERRUPTED}


def test_a_trials_resources_do_not_depend_on_those_left(store, inputs, executor, monkeypatch):
    monkeypatch.setattr("tune_distill.planning.work.num_parameters", lambda student: 1e9)
    studies = [resolved("smoothing"), resolved("sequence_length")]
    run(studies, inputs, store, executor)
    store.discard_run(next(plans(studies[0], inputs, store)).trials[0].run_key)
    run(studies, inputs, store, executor)
    # 8 runs on 16 CPUs with three trials at a time; the second time only one run is left.
    request = ResourceRequest(max_concurrent=3)
    first, second = (resources_for(w.known, [{"CPU": 16.0}], request) for w in executor.works)
    assert first == second


def test_an_interrupted_study_that_had_something_stored_has_not_run(store, inputs, executor):
    study = resolved("smoothing")
    finish(store, next(plans(study, inputs, store)).trials[1])
    executor.interrupt = interrupting
    outcomes, _ = run([study], inputs, store, executor)
    assert not outcomes["smoothing"].ran
