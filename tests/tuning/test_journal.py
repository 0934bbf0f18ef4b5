import errno
import json
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.object_store import BUCKET, object_store
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.spec.errors import StoreError
from tune_distill.tuning.journal import SegmentedJournal, has_journal, search_storage

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


def study_in(place: Place) -> optuna.Study:
    return optuna.create_study(
        storage=search_storage(place, SEARCH), study_name="own", load_if_exists=True
    )


def seen(study: optuna.Study) -> list[tuple[int, TrialState, dict[str, Any], float | None]]:
    trials = study.get_trials(deepcopy=False)
    return [(trial.number, trial.state, trial.params, trial.value) for trial in trials]


class TestSearchStorage:
    def test_a_search_is_there_for_whoever_opens_it_next(self, place):
        assert not has_journal(place, SEARCH)
        study = study_in(place)
        assert has_journal(place, SEARCH)
        for value in (0.5, 0.25):
            trial = study.ask()
            trial.suggest_float("rate", 0, 1)
            trial.report(value, 10)
            study.tell(trial, value)
        study.enqueue_trial({"rate": 0.75})
        again = study_in(place)
        assert seen(again) == seen(study)
        assert [state for _, state, _, _ in seen(again)] == [
            TrialState.COMPLETE,
            TrialState.COMPLETE,
            TrialState.WAITING,
        ]
        assert again.ask().suggest_float("rate", 0, 1) == 0.75
        # The one that was open all the time sees it as well.
        assert seen(study) == seen(again)

    def test_two_drivers_choose_no_trial_twice(self, place):
        study_in(place)
        barrier = Barrier(2)

        def drive(driver: int) -> list[int]:
            study = study_in(place)
            numbers = []
            barrier.wait(60)
            for _ in range(6):
                trial = study.ask()
                study.tell(trial, float(trial.number))
                numbers.append(trial.number)
            return numbers

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(drive, range(2))
        assert sorted(first + second) == list(range(12))
        assert [value for _, _, _, value in seen(study_in(place))] == list(range(12))

    def test_two_drivers_take_each_queued_point_once(self, place):
        drivers = [study_in(place), study_in(place)]
        for number in range(4):
            drivers[0].enqueue_trial({"rate": number / 4})
        taken = [drivers[number % 2].ask().suggest_float("rate", 0, 1) for number in range(4)]
        assert sorted(taken) == [0, 0.25, 0.5, 0.75]


class TestFolder:
    def test_the_journal_is_the_file_that_other_tools_of_optuna_open(self, tmp_path):
        study = study_in(Folder(tmp_path))
        study.tell(study.ask(), 1.5)
        path = tmp_path / SEARCH / "optuna.journal"
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        assert optuna.load_study(study_name="own", storage=storage).best_value == 1.5

    def test_looking_for_a_journal_makes_nothing(self, tmp_path):
        assert not has_journal(Folder(tmp_path), SEARCH)
        assert list(tmp_path.iterdir()) == []


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

    def test_writers_at_once_lose_nothing_and_readers_agree(self, place):
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

    def test_an_entry_whose_answer_was_lost_is_written_once(self, place):
        journal = SegmentedJournal(LosesAnswers(place), SEARCH)
        journal.append_logs([{"worker_id": "a", "n": 0}])
        journal.append_logs([{"worker_id": "a", "n": 1}])
        assert [log["n"] for log in SegmentedJournal(place, SEARCH).read_logs(0)] == [0, 1]
        assert [log["n"] for log in journal.read_logs(0)] == [0, 1]

    def test_a_pickled_journal_goes_on(self, place):
        journal = SegmentedJournal(place, SEARCH)
        journal.append_logs([{"worker_id": "a", "n": 0}])
        again = pickle.loads(pickle.dumps(journal))
        again.append_logs([{"worker_id": "b", "n": 1}])
        assert [log["n"] for log in journal.read_logs(0)] == [0, 1]

    @pytest.mark.parametrize("name", ["00000001", "00000002"])
    def test_a_damaged_journal_says_what_to_do(self, place, name):
        SegmentedJournal(place, SEARCH).append_logs([{"worker_id": "a"}])
        place.create(f"{SEARCH}/journal/{name}.jsonl", b'{"half')
        with pytest.raises(StoreError) as refusal:
            list(SegmentedJournal(place, SEARCH).read_logs(0))
        journal = place.where(f"{SEARCH}/journal")
        assert str(refusal.value).startswith(f"{journal}/{name}.jsonl: must be the next entry of")
        assert f"remove {journal}, and the search starts anew" in str(refusal.value)


class LosesAnswers:
    """A place where each creation succeeds and is refused, as when a request was repeated."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def create(self, name: str, content: bytes) -> bool:
        self._place.create(name, content)
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def test_a_line_that_a_full_disk_has_cut_is_left_out(self, tmp_path):
        study = study_in(Folder(tmp_path))
        study.tell(study.ask(), 1.5)
        before = seen(study)
        path = tmp_path / SEARCH / "optuna.journal"
        with path.open("ab") as stream:
            stream.write(b'{"op_code": 4, "worker_i')
        again = study_in(Folder(tmp_path))
        assert seen(again) == before
        again.tell(again.ask(), 0.5)
        assert [value for *_, value in seen(study_in(Folder(tmp_path)))] == [1.5, 0.5]
        assert not list(path.parent.glob("*.lock"))

    @pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"op_code": 4}\n', b"{}\n"])
    def test_what_optuna_has_not_written_is_told_with_a_way_out(self, tmp_path, line):
        study_in(Folder(tmp_path))
        path = tmp_path / SEARCH / "optuna.journal"
        path.write_bytes(path.read_bytes() + line * 2)
        with pytest.raises(
            StoreError, match=rf"^{path.parent}: must hold .*; remove {path.parent}"
        ):
            study_in(Folder(tmp_path))

    def test_a_disk_that_takes_no_more_is_told_as_such(self, tmp_path, monkeypatch):
        study = study_in(Folder(tmp_path))

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match=r"optuna\.journal: .* No space left on device"):
            study.ask()
