"""The store on every kind of place."""

from __future__ import annotations

import pytest

from tests.records.made import (
    evaluation_record,
    finish_run,
    history,
    prediction,
    run_record,
    trials_of,
)
from tests.records.places import write
from tune_distill.records.digests import DamagedError
from tune_distill.records.tables import write_predictions

TRIAL = trials_of()[0]
KEY, EVALUATION = TRIAL.run_key, TRIAL.evaluation_key


class TestStore:
    def test_a_run_is_found_with_its_student_when_it_is_finished(self, store):
        assert not store.has_run(KEY)
        store.begin_run(KEY, TRIAL.run_identity)
        assert not store.has_checkpoint(KEY)
        for content in (b"old", b"new"):
            store.save_checkpoint(KEY, lambda path, content=content: path.write_bytes(content))
        assert store.has_checkpoint(KEY)
        with store.checkpoint(KEY) as path:
            assert path.read_bytes() == b"new"
        assert list(store.identities()) == []
        finish_run(store, TRIAL)
        assert store.run(KEY) == run_record(TRIAL)
        assert not store.has_checkpoint(KEY)
        assert list(store.identities()) == [(KEY, TRIAL.run_identity)]
        with store.student(KEY) as path:
            assert (path / "weights").read_text() == KEY

    def test_an_evaluation_is_found_with_its_predictions(self, store):
        assert not store.has_evaluation(EVALUATION)
        rows = [prediction()]
        store.save_evaluation(
            EVALUATION, KEY, evaluation_record(), lambda path: write_predictions(path, rows)
        )
        assert store.has_evaluation(EVALUATION)
        assert store.evaluation(EVALUATION) == evaluation_record()
        store.discard_evaluation(EVALUATION)
        assert not store.has_evaluation(EVALUATION)

    def test_what_is_damaged_is_set_aside(self, store, place):
        finish_run(store, TRIAL)
        write(place, f"runs/{KEY}/run.json", b'{"half')
        assert not store.has_run(KEY)
        assert place.names("runs") == [f"{KEY}.damaged-1"]
        with pytest.raises(FileNotFoundError), store.student(KEY):
            pytest.fail("the student of a damaged run is not to be used")
        store.save_evaluation(
            EVALUATION, KEY, evaluation_record(), lambda path: path.write_bytes(b"PAR1")
        )
        assert store.has_evaluation(EVALUATION)
        write(place, f"evaluations/{EVALUATION}/predictions.parquet", b"PAR2")
        assert not store.has_evaluation(EVALUATION)
        assert place.names("evaluations") == [f"{EVALUATION}.damaged-1"]

    def test_a_student_that_is_not_the_stored_one_is_not_used(self, store, place):
        finish_run(store, TRIAL)
        [student] = [name for name in place.names(f"runs/{KEY}") if name.startswith("student-")]
        name = f"runs/{KEY}/{student}/weights"
        write(place, name, KEY[::-1].encode())
        # Planning checks only the sizes of remote files; reading them checks their digests.
        with pytest.raises(DamagedError, match="weights has another SHA-256"), store.student(KEY):
            pytest.fail("other weights than were stored")
        write(place, name, b"short")
        assert not store.has_run(KEY)
        assert place.names("runs") == [f"{KEY}.damaged-1"]
        finish_run(store, TRIAL)
        [student] = [name for name in place.names(f"runs/{KEY}") if name.startswith("student-")]
        place.remove(f"runs/{KEY}/{student}/weights")
        assert not store.has_run(KEY)

    def test_a_search_knows_its_pruned_runs_until_it_is_discarded(self, store, place):
        assert not store.is_pruned("search", KEY)
        store.mark_pruned("search", KEY, history(3.0, None))
        assert store.is_pruned("search", KEY)
        assert store.pruned_history("search", KEY) == history(3.0, None)
        store.discard_search("search")
        store.discard_search("search")
        assert not store.is_pruned("search", KEY)
        assert place.names("searches") == ["search.old-1"]

    def test_a_simulator_is_kept(self, store):
        assert store.simulator("pool-v1") is None
        store.save_simulator("pool-v1", b"weights")
        assert store.simulator("pool-v1") == b"weights"
