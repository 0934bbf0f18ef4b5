"""The ends of a search's trials with several drivers, and the repair of a damaged journal."""

from __future__ import annotations

import shutil
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.planning.searching import LEARNING_RATE, asked, rate_of, searching
from tests.records.made import INPUTS, LocalStore, finish, history, resolved
from tests.records.made import study_of as made_study
from tune_distill.planning.plans import plans
from tune_distill.planning.search_ends import SearchEnds, ended_trial
from tune_distill.records.search_log import SearchLog
from tune_distill.records.trials import TrialRecord, complete_record, stored_record
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.study import Study

SEARCH = LEARNING_RATE.model_copy(
    update={"search": LEARNING_RATE.search.model_copy(update={"num_samples": 6})}
)


def planned(store: LocalStore, study: Study = SEARCH) -> Plan:
    return next(plans(resolved(study), INPUTS, store))


def mended(store: LocalStore) -> list[str]:
    """Repair the search as a new command does; return the states of the trials that it finds."""
    plan = planned(store)
    found = [stored_record(t, plan, store) for t in plan.trials if t.trial_id in plan.finished]
    SearchEnds(plan, store).mend(found, plan.trials)
    return [record.state for record in found]


def ended(store: LocalStore, trial: Trial) -> TrialRecord:
    finish(store, trial)
    return SearchEnds(planned(store), store).settle(complete_record(trial, store, reused=False))


@pytest.fixture
def searched(store) -> LocalStore:
    """Return a store with a search of six trials: five complete and one pruned."""
    asked(searching(store, SEARCH))
    plan = planned(store)
    for trial in plan.trials[:5]:
        ended(store, trial)
    pruned = TrialRecord(plan.trials[5], "pruned", False, history=history(3.0, 2.0))
    SearchEnds(plan, store).settle(pruned)
    return store


def journal(store: LocalStore) -> Any:
    return store.journal_path(planned(store).search_key)


def in_journal(store: LocalStore) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal(store))))
    return optuna.load_study(study_name="tune_distill", storage=storage).trials


class TestSettle:
    def test_the_journal_has_each_trial_as_it_ended(self, searched, caplog):
        assert [trial.state for trial in in_journal(searched)] == [TrialState.COMPLETE] * 5 + [
            TrialState.PRUNED
        ]
        assert in_journal(searched)[0].value == 1.25
        assert in_journal(searched)[5].intermediate_values == {10: 3.0, 20: 2.0}
        assert mended(searched) == ["complete"] * 5 + ["pruned"]
        assert caplog.messages == []

    def test_a_trial_that_one_driver_pruned_is_not_completed_by_another(self, store):
        searching(store, SEARCH)
        plan = planned(store)
        [trial] = plan.trials
        first, second = SearchEnds(plan, store), SearchEnds(plan, store)
        rows = history(3.0, 2.0)
        assert first.settle(TrialRecord(trial, "pruned", False, history=rows)).state == "pruned"
        finish(store, trial)
        told = second.settle(complete_record(trial, store, reused=False))
        assert (told.state, told.history, told.run, told.evaluation) == ("pruned", rows, None, None)
        assert list(planned(store).finished.values()) == ["pruned"]

    def test_a_trial_that_one_driver_completed_is_not_pruned_by_another(self, store):
        searching(store, SEARCH)
        plan = planned(store)
        [trial] = plan.trials
        assert ended(store, trial).state == "complete"
        pruned = TrialRecord(trial, "pruned", False, history=history(3.0))
        told = SearchEnds(plan, store).settle(pruned)
        assert told.state == "complete"
        assert told.evaluation is not None
        assert not store.is_pruned(plan.search_key, trial.run_key)

    @pytest.mark.parametrize("lost", ["run", "history"])
    def test_an_end_whose_trial_the_store_has_lost_is_decided_again(self, searched, lost):
        plan = planned(searched)
        trial = plan.trials[0 if lost == "run" else 5]
        if lost == "run":
            searched.discard_run(trial.run_key)
            again = TrialRecord(trial, "pruned", False, history=history(3.0))
        else:
            searched.place.remove(f"searches/{plan.search_key}/pruned/{trial.run_key}.json")
            finish(searched, trial)
            again = complete_record(trial, searched, reused=False)
        assert SearchEnds(plan, searched).settle(again).state == again.state
        assert planned(searched).finished[trial.trial_id] == again.state

    def test_a_metric_without_a_value_ends_as_failed_for_optuna(self, store, caplog):
        study = made_study(
            {"train.batch_size": [4, 8]},
            search={"method": "optuna", "num_samples": 1},
            metric={"name": "grounding"},
        )
        plan = planned(store, study)
        trial = plan.trials[0]
        finish(store, trial)
        record = complete_record(trial, store, reused=False)
        assert ended_trial(plan.resolved, record).state == TrialState.FAIL
        ends = SearchEnds(plan, store)
        for _ in range(2):
            ends.mend([record], plan.trials)
        assert caplog.messages == []


class TestMend:
    def test_a_baseline_that_another_study_ran_is_added_to_the_search(self, store):
        finish(store, planned(store).trials[0])
        assert mended(store) == ["complete"]
        [trial] = in_journal(store)
        assert (trial.params, trial.value) == ({"train.learning_rate": 2e-3}, 1.25)

    def test_entries_that_a_killed_driver_did_not_write_are_added_silently(self, searched, caplog):
        plan = planned(searched)
        SearchLog(searched, plan.search_key).forget_end(plan.trials[0].evaluation_key)
        assert mended(searched) == ["complete"] * 5 + ["pruned"]
        assert caplog.messages == []
        assert len(SearchLog(searched, plan.search_key).ends()) == 6

    @pytest.mark.parametrize(
        "damage", ["cut to a third", "a line less", "empty", "no journal", "foreign", "noise"]
    )
    def test_a_damaged_journal_is_made_again_from_the_store(
        self, searched, tmp_path, caplog, damage
    ):
        path = journal(searched)
        before = [(t.params, t.state, t.value) for t in in_journal(searched)]
        lines = path.read_bytes().splitlines(keepends=True)
        if damage == "cut to a third":
            path.write_bytes(b"".join(lines[: len(lines) // 3]))
        elif damage == "a line less":
            path.write_bytes(b"".join(lines[:-2] + lines[-1:]))
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "no journal":
            path.unlink()
        elif damage == "noise":
            path.write_bytes(b"\xff\x00 noise\n" * 3)
        else:
            other = LocalStore(tmp_path / "other")
            finish(other, planned(other).trials[0])
            mended(other)
            shutil.copy(journal(other), path)
        trials = planned(searched).trials
        assert mended(searched) == ["complete"] * 5 + ["pruned"]
        # The plan has the same trials, and none is left to train.
        plan = planned(searched)
        assert (plan.trials, plan.num_to_run) == (trials, 0)
        [message] = caplog.messages
        assert message.startswith(f"{path}: must have the 6 ended trials of its search, got ")
        assert message.endswith("made again from the store")
        kept = path.with_name("optuna.journal.damaged-1").exists()
        assert kept == (damage != "no journal") == ("set aside as optuna.journal.da" in message)
        assert [(t.params, t.state, t.value) for t in in_journal(searched)] == before
        caplog.clear()
        mended(searched)
        assert caplog.messages == []

    def test_a_journal_with_trials_of_another_search_is_set_aside(self, store, caplog):
        search = searching(store, SEARCH)
        rate = rate_of(search.start("a"))
        path = journal(store)
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(path))),
            study_name="tune_distill",
        )
        caplog.clear()
        space = {"train.learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-2)}
        params = {"train.learning_rate": rate / 2}
        study.add_trial(optuna.trial.create_trial(value=0.0, params=params, distributions=space))
        mended(store)
        [message] = caplog.messages
        assert "got 1 of another search; set aside as optuna.journal.damaged-1" in message


def test_a_search_that_lost_a_run_keeps_its_points(searched, caplog):
    plan = planned(searched)
    searched.discard_run(plan.trials[2].run_key)
    mended(searched)
    assert caplog.messages == []
    again = planned(searched)
    assert again.trials == plan.trials
    assert [trial.trial_id for trial in again.pending] == [plan.trials[2].trial_id]
    # The trial ends as before, and the journal is correct.
    assert ended(searched, plan.trials[2]).state == "complete"
    assert mended(searched) == ["complete"] * 5 + ["pruned"]
    assert len(in_journal(searched)) == 6
    assert caplog.messages == []
