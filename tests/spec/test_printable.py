"""Text for terminals. If these tests fail, a column's name can move the user's cursor."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.spec.printable import json_line, printable, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb", r"a\rb"),
        ("\x07\x7f\x9b", r"\x07\x7f\x9b"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\udcff", r"\udcff"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("naïve 中文 👩‍🚒 [/b] :smile: \\x1b", "naïve 中文 👩‍🚒 [/b] :smile: \\x1b"),
    ],
)
def test_only_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert "Cs" not in {unicodedata.category(one) for one in shown}
    assert {one for one in shown if unicodedata.category(one) == "Cc"} <= {"\n", "\t"}
    assert not {unicodedata.bidirectional(one) for one in shown} & {"RLO", "LRO", "RLE", "LRE"}
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert len(printable_line(text).splitlines()) <= 1


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers() | st.booleans() | st.none()))
def test_json_is_one_line_of_ascii_and_reads_back(value: dict[str, object]) -> None:
    line = json_line(value)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == value


def test_json_has_no_nan() -> None:
    told = json.loads(
        json_line({"loss": math.nan, "rows": [math.inf, 1.5], "pair": (2, -math.inf)}),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert told == {"loss": None, "rows": [None, 1.5], "pair": [2, None]}
