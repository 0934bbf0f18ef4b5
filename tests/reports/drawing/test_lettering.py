"""Estimated widths of texts, compared with the renderer's."""

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.reports.drawing.lettering import SIZE, fits, shortened, width, wrapped

TEXTS = (
    "label smoothing 0.1, temperature 0.7, beam 4",
    "google/flan-t5-small@0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
    "greedy decoding with a length penalty of 0.6 and no repeated trigram",
    "WWW MMM @@@ %%%",
    "iii lll ... ;;;",
    "share of content words",
    "0.0001, 0.1, 32",
)


@pytest.mark.parametrize("text", TEXTS)
def test_an_estimate_is_near_what_the_renderer_measures(text):
    mark = {"type": "text", "text": text, "fontSize": SIZE, "font": "Liberation Sans"}
    spec = {"data": {"values": [{}]}, "mark": mark, "width": 1, "height": 1, "padding": 0}
    spec["config"] = {"view": {"stroke": None}}
    measured = vl_convert.vegalite_to_scenegraph(spec)["width"]
    assert width(text) == pytest.approx(measured, rel=0.12)


def test_a_text_is_as_wide_as_its_letters():
    assert width("text", 22.0) == pytest.approx(2 * width("text", 11.0))
    assert width("名前") == 2 * SIZE
    assert width("") == 0.0


@given(st.text("abc iW-", max_size=80), st.floats(20.0, 200.0))
def test_wrapped_lines_fit_and_lose_no_letter(text, pixels):
    lines = wrapped(text, pixels)
    assert max(map(width, lines)) <= pixels
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_what_does_not_fit_is_an_ellipsis():
    lines = shortened("one two three four five six", 45.0, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert shortened("one", 45.0, 2) == ["one"]


def test_a_word_that_would_be_broken_does_not_fit():
    assert fits(["one two"], width("two "))
    assert not fits(["one", "indivisible"], width("two "))
