"""Every study or profile file is accepted or refused, quickly and in a few lines.

If these tests fail, a file leads to a traceback, a command that hangs, or a terminal full of text.
"""

import resource
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spec.test_yaml_text import nested
from tune_distill.cli.options import parse_arguments
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.profile import Profile, field_paths
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import search_spaces_dir
from tune_distill.study import resolve

MOST_S, MOST_BYTES, MOST_MESSAGE = 5, 500 * 2**20, 10_000

SHIPPED = [path.read_text("utf-8") for path in sorted(search_spaces_dir().rglob("*.yaml"))]
KEYS = (
    *field_paths(),
    *Study.model_fields,
    *Profile.model_fields,
    *("type", "values", "low", "high", "step", "cases", "times_default", "method", "num_samples"),
    *("seed", "mode", "grace_fraction", "reduction_factor", "mini", "a case"),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=200),
    st.sampled_from(["grid", "optuna", "asha", "uniform", "cases", "beam", "mini", "min", "1e5"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=30,
)
bombs = st.builds(
    nested, st.sampled_from(["<<", "list"]), st.integers(1, 12), st.integers(1, 30)
) | st.builds(
    lambda text, times: text * times, st.sampled_from("[{-?&*!|>%@\"'#\t"), st.integers(1, 60_000)
)
many = st.builds(
    lambda section, count, value: (
        f"{section}: {{{', '.join(f'k{n}: {value}' for n in range(count))}}}"
    ),
    st.sampled_from(["vary", "overrides", "baseline", "profile_overrides", "train", "x"]),
    st.integers(1, 5000),
    st.sampled_from(
        ["1", "[1, 2]", "{type: int, low: 1, high: 9}", "{type: cases, cases: {a: {b: 1}}}"]
    ),
)


@st.composite
def changed(draw):
    """Return a shipped file after a change of a value or a key, a cut, or an insertion."""
    text = draw(st.sampled_from(SHIPPED))
    raw = yaml.safe_load(text)
    way = draw(st.sampled_from(["value", "key", "cut", "insert"]))
    if way == "value":
        raw[draw(st.sampled_from(sorted(raw)))] = draw(values)
        return yaml.safe_dump(raw, allow_unicode=True)
    if way == "key":
        return yaml.safe_dump(raw | {draw(st.sampled_from(KEYS)): draw(values)})
    start = draw(st.integers(0, len(text)))
    if way == "cut":
        return text[:start] + text[start + draw(st.integers(1, 40)) :]
    return text[:start] + draw(st.one_of(st.text(max_size=40), bombs)) + text[start:]


texts = st.one_of(
    changed(),
    changed(),
    st.builds(lambda value: yaml.safe_dump(value, allow_unicode=True), values),
    st.text(max_size=2000),
    bombs,
    many,
).map(lambda text: text[: 2**16])


# Hypothesis warns when it prints a large file that failed.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@pytest.mark.parametrize("kind", ["study", "profile"])
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(text=texts)
def test_a_file_is_accepted_or_refused_quickly_and_briefly(kind, text, tmp_path_factory):
    check(kind, text, tmp_path_factory.getbasetemp() / f"fuzzed-{kind}.yaml")


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["study", "profile"])
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(text=texts)
def test_two_thousand_files_are_accepted_or_refused_quickly(kind, text, tmp_path_factory):
    check(kind, text, tmp_path_factory.getbasetemp() / f"fuzzed-{kind}.yaml")


def check(kind: str, text: str, path: Path) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    arguments = [str(path)] if kind == "study" else ["smoothing", "--profile", str(path)]
    # CPU time of this process, because other tests may use the processor meanwhile.
    started_s, memory = time.process_time(), _most_memory()
    message = "accepted"
    try:
        resolve(arguments[0], parse_arguments(arguments))
    except StudyFileError as error:
        message = str(error)
    assert 0 < len(message) <= MOST_MESSAGE
    assert time.process_time() - started_s < MOST_S
    assert _most_memory() - memory < MOST_BYTES


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
