"""A sealed record is read back unchanged, or DamagedError is raised, whatever its bytes are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.made import evaluation_record, history, run_record, trials_of
from tune_distill.records.digests import DamagedError, FileDigest
from tune_distill.records.runs import EvaluationRecord, PrunedRun, StoredRun
from tune_distill.records.sealed import NewerRecordError, Sealed, seal, unseal

TRIAL = trials_of()[0]
KEYS = {"evaluation": TRIAL.evaluation_key, "run": TRIAL.run_key}
FILES = {"predictions.parquet": FileDigest(7, "a" * 64)}
CONTENT = asdict(evaluation_record())
SEALED = seal("evaluation", KEYS, CONTENT, FILES)


def unsealed(raw: bytes, **keys: str) -> Sealed[EvaluationRecord]:
    return unseal(raw, "evaluation", keys or KEYS, EvaluationRecord)


def resealed(body: Any) -> bytes:
    """Return any JSON with a correct digest, as a forger could write it."""
    text = body if isinstance(body, str) else json.dumps(body, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]},"sha256":"{digest}"}}'.encode()


def body(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(SEALED)
    del whole["sha256"]
    return whole | changes


def test_a_record_comes_back_with_its_files() -> None:
    record = unsealed(SEALED)
    assert record.content == evaluation_record()
    assert record.files == FILES
    assert unsealed(SEALED, run=TRIAL.run_key).keys == KEYS


def test_a_record_is_json_with_the_digest_of_the_rest() -> None:
    raw = json.loads(SEALED)
    named = raw.pop("sha256")
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    assert named == hashlib.sha256(text.encode()).hexdigest()
    assert raw["files"]["predictions.parquet"] == {"size": 7, "sha256": "a" * 64}
    assert raw["keys"] == KEYS


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
@settings(deadline=None)
def test_no_flipped_bit_goes_unnoticed(position: int, bit: int) -> None:
    changed = bytearray(SEALED)
    changed[position] ^= 1 << bit
    with pytest.raises(DamagedError):
        unsealed(bytes(changed))


@given(st.binary(max_size=300) | st.integers(0, len(SEALED) - 1).map(lambda end: SEALED[:end]))
@settings(deadline=None)
def test_what_seal_did_not_write_is_damage(raw: bytes) -> None:
    with pytest.raises(DamagedError):
        unsealed(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(deadline=None)
def test_other_json_with_a_correct_digest_is_damage(content: Any) -> None:
    with pytest.raises(DamagedError):
        unsealed(resealed(body(content=content)))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        resealed("[" * 100_000 + "}"),
        resealed('{"content":' + "[" * 100_000 + "]" * 100_000 + "}"),
        resealed('{"content":' + "9" * 100_000 + "}"),
        resealed("null}"),
        resealed('{"format":1}'),
    ],
)
def test_deep_or_large_json_is_damage(raw: bytes) -> None:
    with pytest.raises(DamagedError) as told:
        unsealed(raw)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    "content",
    [
        CONTENT | {"metrics": None},
        CONTENT | {"metrics": {"rouge1": "0.5"}},
        CONTENT | {"metrics": {"rouge1": float("nan")}},
        CONTENT | {"metrics": {"rouge1": float("inf")}},
        CONTENT | {"metrics": {"rouge1": True}},
        CONTENT | {"eval_loss": "1.25"},
        CONTENT | {"num_validation": 1.5},
        {name: value for name, value in CONTENT.items() if name != "eval_loss"},
    ],
)
def test_a_value_of_another_kind_is_damage(content: dict[str, Any]) -> None:
    with pytest.raises(DamagedError, match=r"^content\."):
        unsealed(resealed(body(content=content)))


@pytest.mark.parametrize(
    "change",
    [{"history": []}, {"history": None}, {"num_steps": "20"}, {"step": "10"}, {"step": 1.0}],
)
def test_a_run_has_a_history_of_numbers(change: dict[str, Any]) -> None:
    record = asdict(run_record(TRIAL))
    if "step" in change:
        record["history"] = [record["history"][0] | change]
    else:
        record |= change
    student = "student-0123456789ab"
    raw = seal("run", {"run": TRIAL.run_key}, {"record": record, "student": student})
    with pytest.raises(DamagedError, match=r"^content\.record\."):
        unseal(raw, "run", {"run": TRIAL.run_key}, StoredRun)


@pytest.mark.parametrize(
    "name", ["../other", "/etc/passwd", "a/../b", ".hidden", "a//b", "", "a\nb"]
)
def test_a_file_outside_the_entry_cannot_be_named(name: str) -> None:
    with pytest.raises(DamagedError, match=r"^files\."):
        unsealed(seal("evaluation", KEYS, CONTENT, {name: FileDigest(1, "a" * 64)}))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("run", KEYS), ("evaluation", KEYS | {"evaluation": "b" * 64}), ("evaluation", {})],
)
def test_a_record_of_another_entry_is_damage(kind: str, keys: dict[str, str]) -> None:
    with pytest.raises(DamagedError, match="of another entry"):
        unsealed(seal(kind, keys, CONTENT, FILES))


def test_fields_of_a_later_version_are_ignored() -> None:
    later = CONTENT | {"energy_j": 3.0}
    assert unsealed(resealed(body(content=later, more=1))).content == evaluation_record()


@pytest.mark.parametrize("content", [CONTENT, {"other": "meaning"}])
def test_a_later_format_is_refused_but_is_not_damage(content: dict[str, Any]) -> None:
    rule = r"^must be a record of format 1, got 2, which a newer version .*; update "
    with pytest.raises(NewerRecordError, match=rule):
        unsealed(resealed(body(content=content, format=2)))
    # A damaged record of a later format is reported as damage.
    with pytest.raises(DamagedError):
        unsealed(resealed(body(format=2)).replace(b'"rouge1"', b'"rouge9"'))


def test_a_pruned_run_may_have_reported_nothing() -> None:
    for rows in ((), history(None, 2.0)):
        raw = seal("pruned", {"run": "r"}, asdict(PrunedRun(rows)))
        assert unseal(raw, "pruned", {"run": "r"}, PrunedRun).content.history == rows


def test_a_number_that_is_not_finite_cannot_be_sealed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        seal("evaluation", KEYS, CONTENT | {"eval_loss": float("nan")})
