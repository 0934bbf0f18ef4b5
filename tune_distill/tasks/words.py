"""The words of a text in any script.

A word is a run of letters, their marks (accents, vowel signs) and digits. Scripts that put no space
between words (Han, Kana, Thai, Lao, Khmer, Burmese and their like) have no such runs, and a
dictionary for each would be one more thing that scores depend on. There, each character with its
marks counts as a word, as is usual for Chinese and Japanese.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

# Line_Break=SA: the scripts in which Unicode finds no boundary without a dictionary.
_NO_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Line_Break=SA}]"


def words(text: str, also: str = "") -> list[str]:
    """The words of `text` in order, in small letters; characters in `also` may be part of one.

    Text is compared as Unicode does under NFKC: full-width letters and ligatures are the letters
    they stand for, and a letter is the same with its accent apart. Invisible format characters,
    such as joiners and soft hyphens, do not count.
    """
    if text.isascii():
        return _ascii_pattern(also).findall(text.lower())
    text = _FORMAT.sub("", unicodedata.normalize("NFKC", text))
    found: list[str] = _pattern(also).findall(text.lower())
    return found


_FORMAT = regex.compile(r"\p{Cf}")


@lru_cache
def _ascii_pattern(also: str) -> re.Pattern[str]:
    """What `_pattern` comes to in ASCII, in a third of the time."""
    return re.compile(f"[a-z0-9{re.escape(also)}]+")


@lru_cache
def _pattern(also: str) -> regex.Pattern[str]:
    own = regex.escape(also)
    spaced = rf"[[\p{{L}}\p{{N}}{own}]--{_NO_SPACES}]"
    inside = rf"[[\p{{L}}\p{{M}}\p{{N}}{own}]--{_NO_SPACES}]"
    alone = rf"[[\p{{L}}\p{{N}}]&&{_NO_SPACES}]\p{{M}}*"
    return regex.compile(rf"{alone}|{spaced}{inside}*", regex.VERSION1)
