import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.spec.fakes import study_faults
from tune_distill.spec.domains import (
    Cases,
    Domain,
    IntRange,
    LogUniform,
    Uniform,
    Values,
    outside,
)

DOMAIN = TypeAdapter(Domain)
SEEDS = st.integers(0, 2**32)


def domain(**raw):
    return DOMAIN.validate_python(raw)


def domain_faults(raw, name="train.learning_rate"):
    """Return the lines that a user reads about a domain, without the file's name."""
    return [line.removeprefix("my.yaml: ") for line in study_faults({name: raw})]


def test_a_list_is_values():
    assert DOMAIN.validate_python([1, 2.5, "a", None]) == Values(values=[1, 2.5, "a", None])


@pytest.mark.parametrize(
    ("tag", "kind"),
    [("uniform", Uniform), ("loguniform", LogUniform), ("int", IntRange)],
)
def test_the_type_chooses_the_domain(tag, kind):
    assert isinstance(domain(type=tag, low=1, high=2), kind)
    assert isinstance(domain(type="cases", cases={"a": {"train.num_epochs": 1}}), Cases)


@pytest.mark.parametrize(
    ("raw", "held", "others"),
    [
        ({"type": "values", "values": [1, "a", None]}, [1, 1.0, "a", None], [2, "b", "1"]),
        ({"type": "uniform", "low": 1, "high": 2}, [1, 1.5, 2.0], [0.99, 2.01, "1", None]),
        ({"type": "loguniform", "low": 1, "high": 2}, [1, 2], [0.5, None]),
        ({"type": "int", "low": 1, "high": 6, "step": 2}, [1, 3, 5], [2, 6, 7, 3.0, "3", None]),
        ({"type": "cases", "cases": {"a": {"train.num_epochs": 1}}}, ["a"], ["b", 1, None]),
    ],
)
def test_a_domain_contains_its_values_and_no_others(raw, held, others):
    ours = domain(**raw)
    assert [value for value in (*held, *others) if ours.holds(value)] == held
    assert [outside("here", ours, value) for value in held] == [[]] * len(held)
    for value in others:
        (fault,) = outside("here", ours, value)
        assert fault == (f"here: must be {ours.rule}, got {value!r}; choose another, or widen vary")


@given(st.sampled_from(["uniform", "loguniform", "int"]), SEEDS)
def test_a_domain_contains_its_draws(tag, seed):
    ours = domain(type=tag, low=3, high=17, **({"step": 4} if tag == "int" else {}))
    assert ours.holds(ours.draw(random.Random(seed)))


@given(st.floats(1e-12, 1e6), st.floats(1.0001, 1e6), SEEDS)
def test_loguniform_draws_stay_in_range(low, factor, seed):
    high = low * factor
    drawn = domain(type="loguniform", low=low, high=high).draw(random.Random(seed))
    assert low <= drawn <= high


@given(st.floats(1e-12, 1e6), st.floats(1.0001, 1e6), st.sampled_from([min, max]))
def test_loguniform_draws_at_its_ends_stay_in_range(low, factor, end):
    class AtTheEnd(random.Random):
        def uniform(self, a, b):
            return end(a, b)

    high = low * factor
    drawn = domain(type="loguniform", low=low, high=high).draw(AtTheEnd())
    assert low <= drawn <= high
    assert drawn == pytest.approx(end(low, high))


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), SEEDS)
def test_uniform_draws_stay_in_range(one, other, seed):
    low, high = sorted((one, other))
    if low < high:
        assert low <= domain(type="uniform", low=low, high=high).draw(random.Random(seed)) <= high


@given(st.integers(-50, 50), st.integers(1, 60), st.integers(1, 9), SEEDS)
def test_int_draws_are_steps_from_low_in_range(low, width, step, seed):
    drawn = domain(type="int", low=low, high=low + width, step=step).draw(random.Random(seed))
    assert drawn in range(low, low + width + 1, step)


def test_int_ranges_include_both_ends():
    rng = random.Random(0)
    drawn = {domain(type="int", low=1, high=3).draw(rng) for _ in range(100)}
    assert drawn == {1, 2, 3}


def test_loguniform_draws_are_equally_likely_in_every_decade():
    rng = random.Random(0)
    space = domain(type="loguniform", low=1e-4, high=1e-1)
    decades = Counter(math.floor(math.log10(space.draw(rng))) for _ in range(3000))
    assert set(decades) == {-4, -3, -2}
    assert min(decades.values()) > 900


def test_every_value_and_case_is_drawn():
    rng = random.Random(0)
    listed = domain(type="values", values=["a", None, 3])
    assert {listed.draw(rng) for _ in range(60)} == {"a", None, 3}
    cases = domain(type="cases", cases={"x": {"train.num_epochs": 1}, "y": {"train.num_epochs": 2}})
    assert {cases.draw(rng) for _ in range(60)} == {"x", "y"}


def test_factors_are_scaled_once():
    space = domain(type="loguniform", low=0.02, high=50, times_default=True)
    scaled = space.scaled(2e-3)
    assert (scaled.low, scaled.high) == (0.02 * 2e-3, 50 * 2e-3)
    assert isinstance(scaled, LogUniform)
    assert scaled.scaled(10) == scaled
    plain = domain(type="uniform", low=1, high=2)
    assert plain.scaled(10) is plain


TYPES = "cases, int, loguniform, uniform, values"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([], ".values: must not be empty, got []"),
        ([0.1, 0.2, 0.1], ": values must differ, got 0.1 twice"),
        ([1, 1.0], ": values must differ, got 1.0 twice"),
        ([1, [2]], ".1: must be a text, a finite number or null, got [2]"),
        ([True], ".0: must be a text, a finite number or null, got True"),
        ([float("nan")], ".0: must be a text, a finite number or null, got nan"),
        (5, f": must be a list of values or have a type ({TYPES}), got 5"),
        (
            {"low": 1, "high": 2},
            f": must be a list of values or have a type ({TYPES}), got {{'low': 1, 'high': 2}}",
        ),
        (
            {"type": "log", "low": 1},
            f": type must be one of {TYPES}, got {{'type': 'log', 'low': 1}}",
        ),
        ({"type": "values"}, ".values: required, got nothing; add it"),
        ({"type": "uniform", "low": 1}, ".high: required, got nothing; add it"),
        (
            {"type": "uniform", "low": 2, "high": 1},
            ": low must be below high, got low 2.0 and high 1.0",
        ),
        ({"type": "int", "low": 2, "high": 2}, ": low must be below high, got low 2 and high 2"),
        (
            {"type": "int", "low": 1, "high": 2, "step": 0},
            ".step: must be greater than or equal to 1, got 0",
        ),
        ({"type": "int", "low": 1.5, "high": 2}, ".low: must be a valid integer, got 1.5"),
        (
            {"type": "loguniform", "low": 0, "high": 1},
            ": low of a loguniform must be > 0, got 0.0",
        ),
        (
            {"type": "uniform", "low": 0, "high": 1, "hihg": 2},
            ".hihg: unknown key; did you mean 'high'?",
        ),
        (
            {"type": "loguniform", "low": 1, "high": 2, "values": [3]},
            ".values: unknown key; valid are low, high, times_default, type",
        ),
    ],
)
def test_the_fault_of_an_invalid_domain(raw, told):
    assert domain_faults(raw) == [f"vary.train.learning_rate{told}"]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"type": "cases"}, ".cases: required, got nothing; add it"),
        ({"type": "cases", "cases": {"a": {}}}, ": case 'a' sets no field"),
        ({"type": "cases", "cases": {"a": 5}}, ".a: must be a mapping, got 5"),
        (
            {"type": "cases", "cases": {"a": {"decode.top_k": [1]}}},
            ".a.decode.top_k: must be a text, a finite number or null, got [1]",
        ),
    ],
)
def test_the_faults_of_invalid_cases(raw, told):
    assert domain_faults(raw, "strategy") == [f"vary.strategy{told}"]
