"""Scores of generated texts: a row per text, and the means that a trial reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING

from tune_distill.records.examples import Example, content_ids
from tune_distill.tasks.simulator import Simulator
from tune_distill.tasks.task import ParsedOutput, Task
from tune_distill.tasks.words import words

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")

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
"""Words that carry no content: grounding leaves them out. The last line of them are the halves of
contractions, which the tokeniser splits at the apostrophe."""

# The references of a whole validation split, which come back with every trial, fit in.
_CACHE_SIZE = 2**16


@dataclass(frozen=True, slots=True)
class ExampleLoss:
    """Cross-entropy of one example's target, without smoothing: the sum over its tokens."""

    total: float
    num_tokens: int

    @property
    def per_token(self) -> float:
        return self.total / self.num_tokens


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One generated text and its scores, all in [0, 1], and the loss of its example."""

    example_id: str
    """The example's content id: stored answers outlive the names of rows."""
    sample: int
    gold_label: str
    predicted_label: str | None
    """None where the output gives no label."""
    correct: bool
    prediction: str
    """The output as generated."""
    explanation: str
    """What follows the task's marker in it; empty where that is missing."""
    rouge1: float | None
    """This and the other two are None where no reference holds a word."""
    rouge2: float | None
    rougeL: float | None
    faithful: bool | None
    """None without a simulator, or where it knows no word."""
    grounding: float | None
    """None where the explanation holds no content word."""
    eval_loss: float
    """Of the example's own target, a token; all samples of an example repeat it."""
    num_target_tokens: int


def score_predictions(
    task: Task,
    examples: Sequence[Example],
    predictions: Sequence[Sequence[str]],
    losses: Sequence[ExampleLoss],
    simulator: Simulator | None,
) -> list[PredictionRow]:
    """A row per text, by example and then by sample; `predictions[i][k]` is sample k of example i,
    whose loss is `losses[i]`. A task without labels has no simulator.

    A text is faithful if the simulator, which sees its explanation alone, guesses the label that
    the text itself gives, right or wrong. One without a label, or without a word in its
    explanation, is not: there is nothing to agree with, or nothing to judge by. If the simulator
    itself knows no word, none is faithful or unfaithful.
    """
    texts = [
        (name, example, loss, sample, text, task.parse(text, example))
        for name, example, samples, loss in zip(
            content_ids(examples), examples, predictions, losses, strict=True
        )
        for sample, text in enumerate(samples)
    ]
    guesses: Sequence[str | None] = [None] * len(texts)
    if simulator is not None and not simulator.is_blind:
        guesses = simulator.predict([parsed.explanation for *_, parsed in texts])
    return [_row(*text, guess) for text, guess in zip(texts, guesses, strict=True)]


def summarize(rows: Sequence[PredictionRow]) -> dict[str, float]:
    """The means over at least one row, under the names that a trial reports them by.

    A row without a value for a metric is left out of its mean; that is NaN if no row has one.
    """
    return {
        "label_accuracy": fmean(row.correct for row in rows),
        "parse_rate": fmean(row.predicted_label is not None for row in rows),
        "rouge1": _mean(row.rouge1 for row in rows),
        "rouge2": _mean(row.rouge2 for row in rows),
        "rougeL": _mean(row.rougeL for row in rows),
        "faithfulness": _mean(row.faithful for row in rows),
        "grounding": _mean(row.grounding for row in rows),
    }


@lru_cache(_CACHE_SIZE)
def rouge(
    references: tuple[str, ...], explanation: str
) -> tuple[float | None, float | None, float | None]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F1 with stemming, each of the reference that it is best with.

    None where no reference holds a word: there is nothing to find again.

    Source: Lin 2004, as in the package rouge-score: for texts in ASCII its numbers to the last
    bit. It drops every letter beyond a-z, so that other texts are split by `words` instead.
    """
    if not any(map(_tokenizer().tokenize, references)):
        return None, None, None
    best = _rouge_scorer().score_multi(references, explanation)
    return best["rouge1"].fmeasure, best["rouge2"].fmeasure, best["rougeL"].fmeasure


def grounding(explanation: str, inputs: Iterable[str]) -> float | None:
    """The share of the explanation's distinct content words that some input text holds.

    Words are compared by their Porter stems, as ROUGE compares them, so that "runs" is found in
    "running". Distinct, because a student that repeats one word says no more than one that does
    not. None if there is no content word: every word is in `STOP_WORDS`, or there is none.
    """
    tokenizer = _tokenizer()
    stems = tokenizer.content_stems(explanation)
    if not stems:
        return None
    evidence = {word for text in inputs for word in tokenizer.tokenize(text)}
    return len(stems & evidence) / len(stems)


def _row(
    example_id: str,
    example: Example,
    loss: ExampleLoss,
    sample: int,
    text: str,
    parsed: ParsedOutput,
    guess: str | None,
) -> PredictionRow:
    rouge1, rouge2, rouge_l = rouge(example.explanations, parsed.explanation)
    return PredictionRow(
        example_id=example_id,
        sample=sample,
        gold_label=example.label,
        predicted_label=parsed.label,
        correct=parsed.label == example.label,
        prediction=text,
        explanation=parsed.explanation,
        rouge1=rouge1,
        rouge2=rouge2,
        rougeL=rouge_l,
        faithful=None
        if guess is None
        else guess == parsed.label and bool(words(parsed.explanation, also="_")),
        grounding=grounding(parsed.explanation, (*example.inputs, *example.choices)),
        eval_loss=loss.per_token,
        num_target_tokens=loss.num_tokens,
    )


def _mean(values: Iterable[float | None]) -> float:
    present = [value for value in values if value is not None]
    return fmean(present) if present else math.nan


class _StemmingTokenizer:
    """Words with the English ones stemmed, every text and every word once.

    Half of plain ROUGE's time goes into stemming the same references and words again.
    """

    def __init__(self) -> None:
        # Here, because it costs more than a second, which planning need not pay.
        from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

        self._porter = lru_cache(_CACHE_SIZE)(PorterStemmer().stem)
        # The method that rouge-score calls on a tokeniser.
        self.tokenize = lru_cache(_CACHE_SIZE)(self._tokenize)

    def _tokenize(self, text: str) -> tuple[str, ...]:
        return tuple(map(self._stem, words(text)))

    def _stem(self, word: str) -> str:
        # Short words as rouge-score does; Porter's rules are of English alone.
        return str(self._porter(word)) if len(word) > 3 and word.isascii() else word

    def content_stems(self, text: str) -> set[str]:
        """The stems of the words in `text` that are no stop words."""
        return {self._stem(word) for word in words(text) if word not in STOP_WORDS}


@lru_cache(maxsize=1)
def _tokenizer() -> _StemmingTokenizer:
    return _StemmingTokenizer()


@lru_cache(maxsize=1)
def _rouge_scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(ROUGE_TYPES, tokenizer=_tokenizer())
