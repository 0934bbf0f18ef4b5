"""ROUGE: how many words of a reference explanation an answer's explanation repeats.

Source: Lin 2004, as in the package rouge-score. For texts in ASCII, the numbers are the package's
to the last bit. The package drops every letter beyond a-z, so `tasks/words.py` splits the texts.
"""

from __future__ import annotations

from functools import lru_cache

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from tune_distill.tasks.answers import Answer
from tune_distill.tasks.stems import CACHE_SIZE, stems

_TYPES = ("rouge1", "rouge2", "rougeL")


def rouge1(answer: Answer) -> float | None:
    """Return ROUGE-1 F1 with the best reference; None if no reference holds a word."""
    return rouge(answer.example.explanations, answer.explanation)[0]


def rouge2(answer: Answer) -> float | None:
    """Return ROUGE-2 F1; see `rouge1`."""
    return rouge(answer.example.explanations, answer.explanation)[1]


def rouge_l(answer: Answer) -> float | None:
    """Return ROUGE-L F1; see `rouge1`."""
    return rouge(answer.example.explanations, answer.explanation)[2]


@lru_cache(CACHE_SIZE)
def rouge(
    references: tuple[str, ...], explanation: str
) -> tuple[float | None, float | None, float | None]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L F1 with stemming, each for its best reference.

    They are None if no reference holds a word: there is nothing to repeat.
    """
    if not any(map(stems, references)):
        return None, None, None
    best = _SCORER.score_multi(references, explanation)
    return best["rouge1"].fmeasure, best["rouge2"].fmeasure, best["rougeL"].fmeasure


class _Stems(Tokenizer):  # type: ignore[misc]
    """Splits texts for rouge-score."""

    def tokenize(self, text: str) -> tuple[str, ...]:
        return stems(text)


_SCORER = RougeScorer(_TYPES, tokenizer=_Stems())
