"""The words of a text in any script.

A word is a run of letters, their marks (accents, vowel signs) and digits. Scripts that put no space
between words (Han, Kana, Thai, Lao, Khmer, Burmese and similar ones) have no such runs, and scores
should not depend on a dictionary for each. In these scripts, each character with its marks counts
as a word, as is usual for Chinese and Japanese.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

# Line_Break=SA: the scripts in which Unicode finds no boundary without a dictionary.
_NO_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Line_Break=SA}]"


def words(text: str, also: str = "") -> list[str]:
    """Return the words of `text` in order, in lower case; characters in `also` may be part of one.

    Text is normalized by Unicode's NFKC: full-width letters and ligatures become the letters they
    stand for, and a separate accent is composed with its letter. Invisible format characters, such
    as joiners and soft hyphens, are removed.
    """
    if text.isascii():
        return _ascii_pattern(also).findall(text.lower())
    text = _FORMAT.sub("", unicodedata.normalize("NFKC", text))
    found: list[str] = _pattern(also).findall(text.lower())
    return found


_FORMAT = regex.compile(r"\p{Cf}")


@lru_cache
def _ascii_pattern(also: str) -> re.Pattern[str]:
    """Return a pattern that finds the same words in ASCII as `_pattern`, in a third of the time."""
    return re.compile(f"[a-z0-9{re.escape(also)}]+")


@lru_cache
def _pattern(also: str) -> regex.Pattern[str]:
    own = regex.escape(also)
    spaced = rf"[[\p{{L}}\p{{N}}{own}]--{_NO_SPACES}]"
    inside = rf"[[\p{{L}}\p{{M}}\p{{N}}{own}]--{_NO_SPACES}]"
    alone = rf"[[\p{{L}}\p{{N}}]&&{_NO_SPACES}]\p{{M}}*"
    return regex.compile(rf"{alone}|{spaced}{inside}*", regex.VERSION1)
