import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.reports.drawing.lettering import (
    height,
    number_texts,
    power_texts,
    shortened,
    width,
    wrapped,
)


def test_a_text_is_as_wide_as_its_longest_line():
    assert width("a longer line\nshort") == width("a longer line") > width("short") > 0
    assert width("text", 18.0) == pytest.approx(2 * width("text", 9.0), rel=0.03)
    assert height("one\ntwo") == 2 * height("one")


@given(st.text("abc iW-", max_size=80), st.floats(0.3, 3.0))
def test_wrapped_lines_fit_and_lose_no_letter(text, inches):
    lines = wrapped(text, inches)
    assert width(lines) <= inches
    assert "".join(lines.split()) == "".join(text.split())


def test_what_does_not_fit_is_an_ellipsis():
    text = shortened("one two three four five six", 0.6, 2)
    assert text.count("\n") == 1
    assert text.endswith("…")
    assert shortened("one", 0.6, 2) == "one"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.1, 0.1 + 0.2], ["0.0", "0.1", "0.3"]),
        ([-0.05, -0.0, 0.05], ["−0.05", "0.00", "0.05"]),
        ([0, 100, 200], ["0", "100", "200"]),
        ([0.0, 2.5e-5, 5e-5], ["0", "2.5×10⁻⁵", "5×10⁻⁵"]),
        ([1e6, 2e6], ["10⁶", "2×10⁶"]),
        ([], []),
    ],
)
def test_numbers_of_an_axis_have_the_same_digits(values, texts):
    assert number_texts(values) == texts


def test_powers_of_ten_where_one_number_is_long():
    assert power_texts([0.001, 0.01, 1, 1000]) == ["0.001", "0.01", "1", "1000"]
    assert power_texts([1e-5, 3e-5, 1e-3]) == ["10⁻⁵", "3×10⁻⁵", "10⁻³"]
    assert power_texts([-2.5e-5, 1e5]) == ["−2.5×10⁻⁵", "10⁵"]
