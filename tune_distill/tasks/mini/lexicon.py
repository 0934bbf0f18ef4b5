"""The words of the corpus `mini-nli`, read from words.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import yaml

Kind = Literal["person", "animal"]

# The values are not strings, because the strings of this module are the words that texts may hold.
Posture = Enum("Posture", ["water", "wheels", "feet", "seat", "hands", "paws", "teeth"])
"""How an activity occupies the body; activities of different postures exclude each other."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is in the scene, from the caption's words to the most general ones."""

    caption: str
    plain: str
    definite: str
    general: str
    pronoun: str  # he, she, it or they; "they" takes plural verbs
    others: tuple[str, ...]  # whom the scene does not show
    kind: Kind  # selects the activities, garments and traits that fit


@dataclass(frozen=True, slots=True)
class Site:
    """Where something happens."""

    phrase: str
    noun: str
    is_outdoors: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """What the subject does, what follows from it and what does not."""

    singular: str  # the predicate
    plural: str  # the same for several subjects
    general: tuple[str, ...]  # predicates that follow from the activity
    posture: Posture
    maybe: tuple[str, ...]  # predicates that may or may not be true as well
    places: tuple[Site, ...]


def _activity(places: Iterable[str], posture: str, **words: Any) -> Activity:
    found = tuple(_PLACES[name] for name in places)
    return Activity(**words, posture=Posture[posture], places=found)


def _tuples(part: Any) -> Any:
    """Return the part with tuples instead of lists."""
    if isinstance(part, list):
        return tuple(_tuples(each) for each in part)
    if isinstance(part, dict):
        return {name: _tuples(each) for name, each in part.items()}
    return part


_WORDS: Mapping[str, Any] = _tuples(
    yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
)
_PLACES = {name: Site(**place) for name, place in _WORDS["places"].items()}

SUBJECTS = tuple(Subject(**subject) for subject in _WORDS["subjects"])
ACTIVITIES: Mapping[Kind, tuple[Activity, ...]] = {
    kind: tuple(_activity(**activity) for activity in activities)
    for kind, activities in _WORDS["activities"].items()
}
COLORS: tuple[str, ...] = _WORDS["colors"]
GARMENTS: Mapping[Kind, tuple[tuple[str, str], ...]] = _WORDS["garments"]
DETAILS: tuple[str, ...] = _WORDS["details"]
PURPOSES: Mapping[Kind, tuple[str, ...]] = _WORDS["purposes"]
TRAITS: Mapping[Kind, tuple[str, ...]] = _WORDS["traits"]
CONTRARIES: Mapping[Kind, tuple[str, ...]] = _WORDS["contraries"]
OUTDOORS: tuple[str, ...] = _WORDS["outdoors"]
INDOORS: tuple[str, ...] = _WORDS["indoors"]
CAPTIONS: tuple[str, ...] = _WORDS["captions"]
EXPLANATIONS: Mapping[str, tuple[str, ...]] = _WORDS["explanations"]
ACTIVITY_ENTAILED: tuple[str, ...] = _WORDS["activity_entailed"]
PLACE_ENTAILED: tuple[str, ...] = _WORDS["place_entailed"]
PLACE_EXCLUDED: tuple[str, ...] = _WORDS["place_excluded"]
SUBJECT_EXCLUDED: tuple[str, ...] = _WORDS["subject_excluded"]
RESTATEMENTS: tuple[str, ...] = _WORDS["restatements"]
