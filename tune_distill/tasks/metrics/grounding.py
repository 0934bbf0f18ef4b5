"""Grounding: how many of an explanation's content words the input texts hold."""

from __future__ import annotations

from collections.abc import Iterable

from tune_distill.tasks.answers import Answer
from tune_distill.tasks.stems import stem, stems
from tune_distill.tasks.words import words

_STOP_WORDS = """
a an the this that these those such here there
i me my you your he him his she her it its we us our they them their who whom whose what which
am is are was were be been being do does did has have had having
can cannot could may might must shall should will would
and or but nor if so as than then because since while when where why how
not no only just also too very both either neither each any some all more most other another
of in on at by for from to with without into onto about over under up down out off
d ll m re s t ve isn aren wasn weren don doesn didn hasn haven hadn couldn shouldn won wouldn
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words without content. The last line holds the halves of contractions, which are split at their
apostrophe."""


def grounding(answer: Answer) -> float | None:
    """Return the share of the explanation's content words that its example's texts hold."""
    example = answer.example
    return grounded_share(answer.explanation, (*example.inputs, *example.choices))


def grounded_share(explanation: str, inputs: Iterable[str]) -> float | None:
    """Return the share of the explanation's distinct content words that some input text holds.

    Words are compared by their stems, as ROUGE compares them, so "runs" is found in "running".
    Words count once, because a repeated word says nothing more. Return None if there is no content
    word: every word is in `STOP_WORDS`, or there is none.
    """
    content = {stem(word) for word in words(explanation) if word not in STOP_WORDS}
    if not content:
        return None
    evidence = {word for text in inputs for word in stems(text)}
    return len(content & evidence) / len(content)
