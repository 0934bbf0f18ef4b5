"""The log of a search: the points that it asked for and how they ended, as records in the store.

STORE/searches/<search_key>/points/<number>.json       a point; null if the space has no other
                            ends/<evaluation_key>.json  how the trial at a point ended

These records define the search. Optuna's journal beside them is for other tools, and can be made
from them again. Each record is created only once, so drivers that share a search agree: the first
to claim a number chooses its point, and the first to end a trial decides its state. An end repeats
its point, so a lost point of an ended trial can be restored.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from tune_distill.records.digests import DamagedError
from tune_distill.records.sealed import seal
from tune_distill.records.store import Store
from tune_distill.records.verified import read_sealed
from tune_distill.spec.domains import Scalar
from tune_distill.spec.plan import FinishedState

logger = logging.getLogger(__name__)

Point = dict[str, Scalar]
"""The value, or the name of the case, of each varied parameter."""

# The number of records that are read at once.
_NUM_READERS = 16


class End(NamedTuple):
    """The end of the trial at a point."""

    number: int
    point: Point
    state: FinishedState


class _PointRecord(BaseModel):
    """A point; `driver` identifies the SearchLog that chose it."""

    model_config = ConfigDict(strict=True, frozen=True)

    point: Point | None
    driver: str


class _EndRecord(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    number: int
    point: Point
    state: FinishedState


_Record = TypeVar("_Record", _PointRecord, _EndRecord)
_KINDS: dict[type[BaseModel], str] = {_PointRecord: "points", _EndRecord: "ends"}


class SearchLog:
    """The records of one search."""

    def __init__(self, store: Store, search_key: str) -> None:
        self._place, self._search_key = store.place, search_key
        self._folder = store.search_folder(search_key)
        self._driver = uuid.uuid4().hex

    def points(self) -> dict[int, Point | None]:
        """Return the points by number, each once; None means that the space has no other point."""
        found: dict[int, Point | None] = {end.number: end.point for end in self.ends().values()}
        for name, record in self._records(_PointRecord):
            if int(name) not in found and record.point not in found.values():
                found[int(name)] = record.point
        return dict(sorted(found.items()))

    def claim(self, number: int, point: Point | None) -> bool:
        """Give the number this point if it is free; return whether it was."""
        name = f"{number:08d}"
        if self._create(name, _PointRecord(point=point, driver=self._driver)):
            return True
        # A request that was repeated may have been refused because its first attempt succeeded.
        taken = self._record(_PointRecord, name)
        return taken is not None and taken.driver == self._driver

    def claim_all(self, points: Iterable[Point]) -> None:
        """Give a number to each of the points that has none."""
        known = self.points()
        for point in points:
            while point not in known.values():
                if self.claim(number := free_number(known), point):
                    known[number] = point
                else:
                    known = self.points()

    def point(self, number: int) -> Point | None:
        """Return the point of this number.

        Raises:
            FileNotFoundError: no point has the number.
        """
        record = self._record(_PointRecord, f"{number:08d}")
        if record is None:
            raise FileNotFoundError(f"{self._folder}/points/{number:08d}.json")
        return record.point

    def ends(self) -> dict[str, End]:
        """Return the ends of trials by evaluation key."""
        return {name: _end(record) for name, record in self._records(_EndRecord)}

    def end(self, evaluation_key: str) -> End | None:
        """Return the end of the trial with this key; None if it has not ended."""
        record = self._record(_EndRecord, evaluation_key)
        return None if record is None else _end(record)

    def set_end(self, evaluation_key: str, end: End) -> bool:
        """Store this end unless the trial has one; return whether it was stored."""
        return self._create(evaluation_key, _EndRecord(**end._asdict()))

    def forget_end(self, evaluation_key: str) -> None:
        """Remove the trial's end, because the store has lost its results and it must run again."""
        self._place.remove(self._file(_EndRecord, evaluation_key))

    def _create(self, name: str, record: _PointRecord | _EndRecord) -> bool:
        kind = type(record)
        content = seal(_KINDS[kind], self._keys(name), record.model_dump())
        return self._place.create(self._file(kind, name), content)

    def _records(self, kind: type[_Record]) -> Iterator[tuple[str, _Record]]:
        # Records that were set aside do not end with .json.
        files = self._place.names(f"{self._folder}/{_KINDS[kind]}")
        names = [name.removesuffix(".json") for name in files if name.endswith(".json")]
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            found = pool.map(partial(self._record, kind), names)
            yield from ((n, record) for n, record in zip(names, found, strict=True) if record)

    def _record(self, kind: type[_Record], name: str) -> _Record | None:
        """Return the record; None if there is none or it is damaged, after setting it aside."""
        file = self._file(kind, name)
        try:
            found = read_sealed(self._place, file, _KINDS[kind], self._keys(name), kind)
        except DamagedError as error:
            aside = Path(self._place.set_aside(file, "damaged")).name
            logger.warning(
                "%s: damaged (%s); set aside as %s", self._place.where(file), error, aside
            )
            return None
        return None if found is None else found.content

    def _file(self, kind: type[BaseModel], name: str) -> str:
        return f"{self._folder}/{_KINDS[kind]}/{name}.json"

    def _keys(self, name: str) -> dict[str, str]:
        return {"search": self._search_key, "name": name}


def free_number(taken: Container[int]) -> int:
    """Return the smallest number that is not taken."""
    return next(number for number in itertools.count() if number not in taken)


def _end(record: _EndRecord) -> End:
    return End(record.number, record.point, record.state)
