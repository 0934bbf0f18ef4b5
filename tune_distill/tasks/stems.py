"""Stems of words, as ROUGE compares words."""

from __future__ import annotations

from functools import lru_cache

from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]

from tune_distill.tasks.words import words

CACHE_SIZE = 2**16
"""The number of texts, and of words, whose stems are kept.

It is enough for the references of a whole validation split, which every trial uses again.
"""

_PORTER = PorterStemmer()


# Without a cache, half of ROUGE's time goes into stemming the same references and words again.
@lru_cache(CACHE_SIZE)
def stems(text: str) -> tuple[str, ...]:
    """Return the stem of each word in `text`, in order."""
    return tuple(map(stem, words(text)))


@lru_cache(CACHE_SIZE)
def stem(word: str) -> str:
    """Return the word's Porter stem.

    Words of up to three letters stay as they are, as in the package rouge-score; so do words beyond
    ASCII, because Porter's rules are for English.
    """
    return str(_PORTER.stem(word)) if len(word) > 3 and word.isascii() else word
