"""Optuna's journal: it has an entry for each ended trial, and is made again if damaged."""

import errno
import json
import os
import pickle
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, create_trial

from tests.object_store import BUCKET, object_store
from tune_distill.planning.journal import SearchJournal, SegmentedJournal
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.spec.errors import StoreError

SEARCH = "searches/key"


def folder(request) -> Place:
    return Folder(request.getfixturevalue("tmp_path"))


def memory(request) -> Place:
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}", "--store")


def bucket(request) -> Place:
    server = request.getfixturevalue("server")
    for name, value in server.items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    return ObjectStore.open(f"s3://{BUCKET}/{uuid.uuid4().hex}", "--store")


KINDS = {kind.__name__: kind for kind in (folder, memory, bucket)}


@pytest.fixture(scope="module")
def server():
    with object_store() as environment:
        yield environment


@pytest.fixture(params=KINDS)
def place(request) -> Place:
    return KINDS[request.param](request)


def journal_of(place: Place) -> SearchJournal:
    return SearchJournal(place, SEARCH, "min")


def trial(number: int, value: float = 0.5) -> FrozenTrial:
    return create_trial(
        value=value,
        params={"rate": number / 16},
        distributions={"rate": optuna.distributions.FloatDistribution(0, 1)},
        intermediate_values={10: 2.0, 20: value},
    )


TRIALS = [trial(number, value=1 / (number + 3)) for number in range(6)]
POINTS = [each.params for each in TRIALS]


def written(place: Place) -> SearchJournal:
    journal = journal_of(place)
    for each in TRIALS:
        journal.append(each)
    return journal


def fault(place: Place) -> str | None:
    """Return the fault that the next reader of the journal finds."""
    return journal_of(place).fault(TRIALS, POINTS)


class TestSearchJournal:
    def test_an_appended_entry_is_found_when_the_journal_is_opened_again(self, place):
        assert journal_of(place).fault([], []) is None
        assert fault(place) == "got none"
        written(place)
        assert fault(place) is None

    def test_another_drivers_entries_are_read_too(self, place):
        first, second = journal_of(place), journal_of(place)
        for number, each in enumerate(TRIALS):
            (first, second)[number % 2].append(each)
        assert fault(place) is None

    def test_a_journal_that_was_made_again_has_no_fault(self, place):
        written(place)
        done = journal_of(place).make_again(TRIALS[:3])
        assert ".damaged-1, and made again from the store" in done
        assert fault(place) == "got 3 of them"
        assert journal_of(place).fault(TRIALS[:3], POINTS) is None

    def test_a_trial_with_other_numbers_is_a_fault(self, place):
        written(place)
        others = [trial(number, value=0.75) for number in range(6)]
        assert journal_of(place).fault(others, POINTS) == "got 0 of them"

    def test_trials_of_another_search_are_a_fault(self, place):
        written(place)
        assert journal_of(place).fault([], POINTS[1:]) == "got 1 of another search"
        (other := SearchJournal(place, SEARCH, "max")).append(TRIALS[0])
        assert "another search" in str(other.fault([], POINTS))

    def test_optunas_logging_stays_as_it_was(self, place):
        before = optuna.logging.get_verbosity()
        written(place)
        assert optuna.logging.get_verbosity() == before


class TestFolder:
    @pytest.fixture
    def place(self, request) -> Place:
        return folder(request)

    @pytest.fixture
    def path(self, place):
        written(place)
        return place.path(SEARCH) / "optuna.journal"

    @pytest.mark.parametrize("kind", ["a pipe", "a folder"])
    def test_an_irregular_file_is_set_aside(self, place, path, kind):
        path.unlink()
        os.mkfifo(path) if kind == "a pipe" else path.mkdir()
        journal = journal_of(place)
        assert journal.fault(TRIALS, POINTS).startswith("got another kind of file: ")
        assert journal.make_again(TRIALS).startswith("set aside as optuna.journal.damaged-1")
        assert journal_of(place).fault(TRIALS, POINTS) is None

    def test_a_lock_of_a_store_that_moved_is_removed(self, place, path):
        lock = path.with_name("optuna.journal.lock")
        lock.symlink_to("/old/place/optuna.journal")
        long_ago = time.time() - 60
        os.utime(lock, (long_ago, long_ago), follow_symlinks=False)
        journal_of(place).append(trial(7))
        assert not lock.is_symlink()

    def test_optunas_other_tools_open_the_journal(self, path):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        study = optuna.load_study(study_name="tune_distill", storage=storage)
        assert study.best_params == POINTS[5]
        assert [each.value for each in study.trials] == [each.value for each in TRIALS]

    def test_checking_an_absent_journal_does_not_create_it(self, place):
        assert journal_of(place).fault([], []) is None
        assert not place.names(SEARCH)

    def test_a_line_truncated_by_a_full_disk_is_removed(self, place, path):
        with path.open("ab") as stream:
            stream.write(b'{"op_code": 4, "worker_i')
        assert fault(place) is None
        journal_of(place).append(trial(9))
        assert fault(place) == "got 1 of another search"
        assert not list(path.parent.glob("*.lock"))

    @pytest.mark.parametrize("kept", [0, 1, 1 / 3, 2 / 3])
    def test_lost_lines_are_noticed(self, place, path, kept):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: round(kept * len(lines))]) if kept != 1 else lines[0])
        assert fault(place) is not None

    def test_a_lost_line_between_others_is_noticed(self, place, path):
        lines = path.read_bytes().splitlines(keepends=True)
        for lost in range(len(lines)):
            path.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
            assert fault(place) is not None, lines[lost]

    def test_no_flipped_bit_changes_an_entry_unnoticed(self, place, path):
        content, rng = path.read_bytes(), random.Random(0)
        seen = noticed = 0
        for _ in range(150):
            damaged = bytearray(content)
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(bytes(damaged))
            if fault(place) is not None:
                noticed += 1
                continue
            seen += 1
            # Only bits in times and writers' names, which are not compared, go unnoticed.
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
            study = optuna.load_study(study_name="tune_distill", storage=storage)
            assert [(e.params, e.value, e.state) for e in study.trials] == [
                (e.params, e.value, e.state) for e in TRIALS
            ]
        assert noticed > seen

    @pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"op_code": 4}\n', b"{}\n"])
    def test_a_line_that_optuna_did_not_write_is_noticed(self, place, path, line):
        path.write_bytes(path.read_bytes() + line * 2)
        found = fault(place)
        assert found is not None
        assert len(found) < 300

    def test_a_driver_goes_on_when_another_has_made_the_journal_again(self, place, caplog):
        first = written(place)
        journal_of(place).make_again(TRIALS[:2])
        for each in TRIALS[2:]:
            first.append(each)
        # The journal may have to be made once more, but no trial fails because of it.
        assert journal_of(place).fault(TRIALS[:2], POINTS) in (None, "got 2 of them")

    def test_a_full_disk_is_reported(self, place, monkeypatch):
        journal = written(place)

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match=r"optuna\.journal: .* No space left on device"):
            journal.append(trial(9))


class TestSegmentedJournal:
    @pytest.fixture
    def place(self, request) -> Place:
        return memory(request)

    def test_each_entry_is_a_numbered_file(self, place):
        journal = SegmentedJournal(place, SEARCH)
        journal.append_logs([{"worker_id": "a", "n": 0}, {"worker_id": "a", "n": 1}])
        journal.append_logs([{"worker_id": "a", "n": 2}])
        assert place.names(f"{SEARCH}/journal") == ["00000000.jsonl", "00000001.jsonl"]
        lines = place.read(f"{SEARCH}/journal/00000000.jsonl").decode().splitlines()
        assert [json.loads(line)["n"] for line in lines] == [0, 1]
        again = SegmentedJournal(place, SEARCH)
        assert [log["n"] for log in again.read_logs(0)] == [0, 1, 2]
        assert [log["n"] for log in again.read_logs(2)] == [2]
        assert list(again.read_logs(3)) == []

    def test_simultaneous_writers_lose_no_entry_and_readers_agree(self, place):
        journals = [SegmentedJournal(place, SEARCH) for _ in range(6)]
        barrier = Barrier(6)

        def write(writer: int) -> None:
            barrier.wait(60)
            for number in range(10):
                journals[writer].append_logs([{"worker_id": str(writer), "n": number}])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))
        logs = list(journals[0].read_logs(0))
        for writer in range(6):
            own = [log["n"] for log in logs if log["worker_id"] == str(writer)]
            assert own == list(range(10))
        for journal in (*journals, SegmentedJournal(place, SEARCH)):
            assert list(journal.read_logs(0)) == logs

    def test_an_entry_is_written_once_if_its_answer_was_lost(self, place):
        journal = SegmentedJournal(LosesAnswers(place), SEARCH)
        journal.append_logs([{"worker_id": "a", "n": 0}])
        journal.append_logs([{"worker_id": "a", "n": 1}])
        assert [log["n"] for log in SegmentedJournal(place, SEARCH).read_logs(0)] == [0, 1]
        assert [log["n"] for log in journal.read_logs(0)] == [0, 1]

    def test_an_unpickled_journal_goes_on(self, place):
        journal = SegmentedJournal(place, SEARCH)
        journal.append_logs([{"worker_id": "a", "n": 0}])
        again = pickle.loads(pickle.dumps(journal))
        again.append_logs([{"worker_id": "b", "n": 1}])
        assert [log["n"] for log in journal.read_logs(0)] == [0, 1]

    @pytest.mark.parametrize("name", ["00000001", "00000002"])
    def test_a_damaged_or_missing_entry_is_an_error(self, place, name):
        SegmentedJournal(place, SEARCH).append_logs([{"worker_id": "a"}])
        place.create(f"{SEARCH}/journal/{name}.jsonl", b'{"half')
        with pytest.raises(ValueError, match=r"00000002\.jsonl in place of 00000001|Unterminated"):
            list(SegmentedJournal(place, SEARCH).read_logs(0))


class LosesAnswers:
    """A place where each `create` succeeds but reports a conflict, as after a repeated request."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def create(self, name: str, content: bytes) -> bool:
        self._place.create(name, content)
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)
