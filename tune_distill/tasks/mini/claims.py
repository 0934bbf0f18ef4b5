"""The claims that hypotheses make: what a scene of `mini-nli` entails, leaves open or excludes.

A third of the entailments and of the contradictions share their wording ("the man is wearing a red
jacket"), so that only the caption decides their label; the words of the other claims decide theirs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tune_distill.tasks.mini import lexicon

POSSESSIVES = {"he": "his", "she": "her", "it": "its", "they": "their"}
ADDED_WORDS = (*POSSESSIVES.values(), "is are a an in wearing doing it")  # not from the lexicon


@dataclass(frozen=True, slots=True)
class Scene:
    """What one caption shows."""

    subject: lexicon.Subject
    activity: lexicon.Activity
    place: lexicon.Site
    color: str
    garment: tuple[str, str]  # singular, plural

    def words(self) -> dict[str, str]:
        """Return words that agree with the subject, by the names that templates use."""
        return {
            "caption": self.subject.caption,
            "plain": self.subject.plain,
            "definite": self.subject.definite,
            "they": self.subject.pronoun,
            "their": POSSESSIVES[self.subject.pronoun],
            "are": "are" if self.is_plural() else "is",
        }

    def is_plural(self) -> bool:
        return self.subject.pronoun == "they"

    def activity_phrase(self, activity: lexicon.Activity) -> str:
        return activity.plural if self.is_plural() else activity.singular

    def garment_phrase(self, color: str) -> str:
        if self.is_plural():
            return f"{color} {self.garment[1]}"
        return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {self.garment[0]}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A hypothesis, "{who} is {predicate}", and the two predicates that decide its label.

    `given` is what the caption says, `claim` what the hypothesis says. `explanations` are the
    templates that suit this claim; those of its label are added unless `is_about_subject`.
    """

    who: str
    predicate: str
    given: str
    claim: str
    explanations: tuple[str, ...] = ()
    is_about_subject: bool = False


def make_claim(scene: Scene, label: str, rng: random.Random) -> Claim:
    """Return a claim of a random kind that has this label."""
    draw = rng.random()
    make = next(make for up_to, make in _KINDS[label] if draw < up_to)
    return make(scene, rng)


def _general_activity(scene: Scene, rng: random.Random) -> Claim:
    claim = rng.choice(scene.activity.general).format(**scene.words())
    who = rng.choice((scene.subject.general, scene.subject.definite))
    given = scene.activity_phrase(scene.activity)
    return Claim(who, claim, given, claim, lexicon.ACTIVITY_ENTAILED)


def _same_activity(scene: Scene, rng: random.Random) -> Claim:
    claim = scene.activity_phrase(scene.activity)
    return Claim(scene.subject.general, claim, f"{claim} {scene.place.phrase}", claim)


def _right_place(scene: Scene, rng: random.Random) -> Claim:
    claim = rng.choice(lexicon.OUTDOORS if scene.place.is_outdoors else lexicon.INDOORS)
    given = scene.place.phrase
    return Claim(scene.subject.definite, claim, given, claim, lexicon.PLACE_ENTAILED)


def _wrong_place(scene: Scene, rng: random.Random) -> Claim:
    claim = rng.choice(lexicon.INDOORS if scene.place.is_outdoors else lexicon.OUTDOORS)
    given = scene.place.phrase
    return Claim(scene.subject.definite, claim, given, claim, lexicon.PLACE_EXCLUDED)


def _wearing(scene: Scene, color: str) -> Claim:
    claim = f"wearing {scene.garment_phrase(color)}"
    given = f"in {scene.garment_phrase(scene.color)}"
    return Claim(scene.subject.definite, claim, given, claim)


def _right_color(scene: Scene, rng: random.Random) -> Claim:
    return _wearing(scene, scene.color)


def _wrong_color(scene: Scene, rng: random.Random) -> Claim:
    return _wearing(scene, rng.choice([color for color in lexicon.COLORS if color != scene.color]))


def _wrong_subject(scene: Scene, rng: random.Random) -> Claim:
    other = rng.choice(scene.subject.others)
    predicate = scene.activity_phrase(scene.activity)
    return Claim(other, predicate, scene.subject.plain, other, lexicon.SUBJECT_EXCLUDED, True)


def _wrong_activity(scene: Scene, rng: random.Random) -> Claim:
    activities = lexicon.ACTIVITIES[scene.subject.kind]
    others = [other for other in activities if other.posture != scene.activity.posture]
    claim = scene.activity_phrase(rng.choice(others))
    return Claim(scene.subject.general, claim, scene.activity_phrase(scene.activity), claim)


def _one_of(scene: Scene, claims: tuple[str, ...], rng: random.Random) -> Claim:
    claim = rng.choice(claims).format(**scene.words())
    return Claim(scene.subject.definite, claim, scene.activity_phrase(scene.activity), claim)


def _contrary(scene: Scene, rng: random.Random) -> Claim:
    return _one_of(scene, lexicon.CONTRARIES[scene.subject.kind], rng)


def _trait(scene: Scene, rng: random.Random) -> Claim:
    return _one_of(scene, lexicon.TRAITS[scene.subject.kind], rng)


def _maybe(scene: Scene, rng: random.Random) -> Claim:
    return _one_of(scene, scene.activity.maybe, rng)


def _purpose(scene: Scene, rng: random.Random) -> Claim:
    purpose = rng.choice(lexicon.PURPOSES[scene.subject.kind]).format(**scene.words())
    given = scene.activity_phrase(scene.activity)
    return Claim(scene.subject.definite, f"{given} {purpose}", given, f"doing it {purpose}")


# The kinds of claims of each label, with their cumulative shares.
_KINDS: dict[str, tuple[tuple[float, Callable[[Scene, random.Random], Claim]], ...]] = {
    "entailment": (
        (0.62, _general_activity),
        (0.75, _right_place),
        (0.87, _right_color),
        (1.00, _same_activity),
    ),
    "neutral": ((0.50, _purpose), (0.75, _trait), (1.00, _maybe)),
    "contradiction": (
        (0.66, _contrary),
        (0.76, _wrong_place),
        (0.86, _wrong_color),
        (0.93, _wrong_subject),
        (1.00, _wrong_activity),
    ),
}
