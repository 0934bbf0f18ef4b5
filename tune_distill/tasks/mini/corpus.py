"""The embedded corpus `mini-nli`: sentence pairs and explanations from a seeded grammar.

Every caption gets three hypotheses, one per label, as in SNLI. Most labels can be guessed from
the hypothesis alone, once its words are known (a purpose is neutral, sleeping is a contradiction).
For the others, a student has to compare it with the caption (the color of a jacket, indoors or
outdoors, which activity).
"""

from __future__ import annotations

import dataclasses
import random
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Literal

from tune_distill.records.examples import Example
from tune_distill.tasks.mini import lexicon
from tune_distill.tasks.mini.claims import ADDED_WORDS, Claim, Scene, make_claim

LABELS = tuple(lexicon.EXPLANATIONS)
MINI_CORPUS_VERSION = 1  # raise it whenever the examples change
NUM_TRAIN = 4200
NUM_VALIDATION = 1200

NOISE_FRACTION = 0.04  # hypotheses labelled wrongly, with explanations to match
RESTATEMENT_FRACTION = 0.15  # explanations that only restate the sentences
DETAIL_FRACTION = 0.6  # captions with a detail at their end


def mini_nli(split: Literal["train", "validation"]) -> list[Example]:
    """Return the examples of a split, the same in every process; the splits share no premise."""
    num_examples = {"train": NUM_TRAIN, "validation": NUM_VALIDATION}[split]
    rng = random.Random(f"mini-nli {MINI_CORPUS_VERSION} {split}")
    drafts: list[Example] = []
    for premise, scene in _captions(split, rng):
        if len(drafts) >= num_examples:
            break
        drafts += [_example(premise, scene, label, rng) for label in LABELS]
    rng.shuffle(drafts)
    return [
        dataclasses.replace(draft, example_id=f"mini-{split}-{row:04d}")
        for row, draft in enumerate(drafts)
    ]


def vocabulary() -> list[str]:
    """Return every distinct word that the grammar can produce, sorted, without punctuation."""
    names = [name for name in vars(lexicon) if name.isupper() and not name.startswith("_")]
    data = [getattr(lexicon, name) for name in names]
    texts = _strings((ADDED_WORDS, *data))
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", _without_slots(text))})


def _without_slots(text: str) -> str:
    return re.sub(r"{\w+}", " ", text)


def _strings(value: object) -> Iterator[str]:
    """Yield all strings inside nested tuples, mappings and dataclasses."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Mapping):
        yield from _strings(tuple(value.values()))
    elif dataclasses.is_dataclass(value):
        yield from _strings(
            tuple(getattr(value, field.name) for field in dataclasses.fields(value))
        )


def _captions(split: str, rng: random.Random) -> Iterator[tuple[str, Scene]]:
    """Yield distinct captions of a split; a checksum of the text decides its split."""
    seen: set[str] = set()
    while True:
        scene = _scene(rng)
        premise = _premise(scene, rng)
        owner = "validation" if zlib.crc32(premise.encode()) % 4 == 0 else "train"
        if owner == split and premise not in seen:
            seen.add(premise)
            yield premise, scene


def _scene(rng: random.Random) -> Scene:
    subject = rng.choice(lexicon.SUBJECTS)
    activity = rng.choice(lexicon.ACTIVITIES[subject.kind])
    return Scene(
        subject=subject,
        activity=activity,
        place=rng.choice(activity.places),
        color=rng.choice(lexicon.COLORS),
        garment=rng.choice(lexicon.GARMENTS[subject.kind]),
    )


def _premise(scene: Scene, rng: random.Random) -> str:
    detail = f" {rng.choice(lexicon.DETAILS)}" if rng.random() < DETAIL_FRACTION else ""
    return rng.choice(lexicon.CAPTIONS).format(
        **scene.words(),
        garment=scene.garment_phrase(scene.color),
        activity=scene.activity_phrase(scene.activity),
        place=scene.place.phrase,
        detail=detail,
    )


def _example(premise: str, scene: Scene, label: str, rng: random.Random) -> Example:
    claim = make_claim(scene, label, rng)
    hypothesis = f"{claim.who} {scene.words()['are']} {claim.predicate}."
    templates = claim.explanations
    if not claim.is_about_subject:
        if rng.random() < NOISE_FRACTION:
            label = rng.choice([other for other in LABELS if other != label])
            templates = ()
        templates += lexicon.EXPLANATIONS[label]
    return Example("", (premise, hypothesis), label, _explain(scene, claim, templates, rng))


def _explain(
    scene: Scene, claim: Claim, templates: tuple[str, ...], rng: random.Random
) -> tuple[str, ...]:
    """Return three different explanations; some of them only restate the sentences."""
    chosen = rng.sample(templates, 3)
    restatements = rng.sample(lexicon.RESTATEMENTS, 3)
    words = scene.words() | {"given": claim.given, "claim": claim.claim, "noun": scene.place.noun}
    return tuple(
        (restatement if rng.random() < RESTATEMENT_FRACTION else template).format(**words)
        for template, restatement in zip(chosen, restatements, strict=True)
    )
