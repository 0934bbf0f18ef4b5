"""The log of a search: its points and how they ended."""

from __future__ import annotations

import json
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.records.search_log import End, SearchLog
from tune_distill.records.store import Store

KEY = "a" * 64
POINT = {"train.learning_rate": 1e-3, "size": "few", "data.num_train": None, "train.batch_size": 8}
EVALUATION = "e" * 64


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path)
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}", "--store")


def log_of(place: Place, key: str = KEY) -> SearchLog:
    return SearchLog(Store(place), key)


def test_points_keep_their_numbers_and_types(place):
    assert log_of(place).points() == {}
    log = log_of(place)
    assert log.claim(0, POINT)
    assert log.claim(1, None)
    assert log_of(place).points() == {0: POINT, 1: None}
    assert type(log_of(place).point(0)["train.batch_size"]) is int
    assert log_of(place, "b" * 64).points() == {}


def test_simultaneous_claims_give_a_number_one_point(place):
    barrier = Barrier(4)

    def claim(driver: int) -> bool:
        barrier.wait(60)
        return log_of(place).claim(0, {"train.batch_size": driver})

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim, range(4)))
    assert sum(won) == 1
    assert log_of(place).point(0) == {"train.batch_size": won.index(True)}


def test_a_repeated_claim_of_the_same_driver_succeeds(place):
    log = log_of(place)
    assert log.claim(0, POINT)
    assert log.claim(0, POINT)
    assert not log_of(place).claim(0, POINT)


def test_planned_points_each_get_one_free_number(place):
    first, second = {"n": 1}, {"n": 2}
    log_of(place).claim(1, first)
    for _ in range(2):
        log_of(place).claim_all([first, second])
    assert log_of(place).points() == {0: second, 1: first}


def test_the_first_end_of_a_trial_is_kept(place):
    log = log_of(place)
    assert log.end(EVALUATION) is None
    assert log.set_end(EVALUATION, End(0, POINT, "pruned"))
    assert not log_of(place).set_end(EVALUATION, End(0, POINT, "complete"))
    assert log_of(place).end(EVALUATION) == End(0, POINT, "pruned")
    assert log_of(place).ends() == {EVALUATION: End(0, POINT, "pruned")}
    log.forget_end(EVALUATION)
    assert log.set_end(EVALUATION, End(0, POINT, "complete"))


@pytest.mark.parametrize("lost", ["points/00000000.json", f"ends/{EVALUATION}.json"])
def test_a_point_survives_the_loss_of_either_record(place, lost):
    log = log_of(place)
    log.claim(0, POINT)
    log.set_end(EVALUATION, End(0, POINT, "complete"))
    place.remove(f"searches/{KEY}/{lost}")
    assert log_of(place).points() == {0: POINT}


def test_no_single_flipped_bit_goes_unnoticed(place, caplog):
    log = log_of(place)
    log.claim(0, POINT)
    log.set_end(EVALUATION, End(0, POINT, "complete"))
    rng = random.Random(0)
    for name in ("points/00000000.json", f"ends/{EVALUATION}.json"):
        name = f"searches/{KEY}/{name}"
        content = place.read(name)
        for _ in range(40):
            damaged = bytearray(content)
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            with place.writing(name) as path:
                path.write_bytes(bytes(damaged))
            caplog.clear()
            assert log_of(place).points() == {0: POINT}
            log_of(place).ends()
            (message,) = caplog.messages
            assert message.startswith(f"{place.where(name)}: damaged (")
            assert "; set aside as " in message
            assert not place.exists(name)
            place.create(name, content)


@pytest.mark.parametrize("change", ["another search", "another number", "no record", "cut"])
def test_a_record_of_another_search_or_number_is_set_aside(place, caplog, change):
    log_of(place).claim(0, POINT)
    log_of(place, "b" * 64).claim(1, {"train.batch_size": 1})
    foreign, name = place.read(f"searches/{'b' * 64}/points/00000001.json"), "00000001"
    if change == "another number":
        foreign = place.read(f"searches/{KEY}/points/00000000.json")
    elif change == "no record":
        foreign = json.dumps(["a list"]).encode()
    elif change == "cut":
        foreign = foreign[: len(foreign) // 2]
    place.create(f"searches/{KEY}/points/{name}.json", foreign)
    assert log_of(place).points() == {0: POINT}
    assert "damaged" in caplog.text
    with pytest.raises(FileNotFoundError):
        log_of(place).point(1)
    # The number is free again.
    assert log_of(place).claim(1, {"train.batch_size": 2})
