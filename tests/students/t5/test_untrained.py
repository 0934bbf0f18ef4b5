"""A student is read as by HF, HF can read a trained one, and damage is reported."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from tests.students.random_t5 import random_t5
from tests.tiny import at, load_student, untrained
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Student
from tune_distill.students.mini import mini_student
from tune_distill.students.spelling import PlainSpelling

MINI = Student(source="mini")


def assert_same_weights(model: torch.nn.Module, expected: torch.nn.Module) -> None:
    ours, theirs = dict(model.named_parameters()), dict(expected.named_parameters())
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# Reading


@pytest.mark.parametrize("tied_config", [True, False, None])
@pytest.mark.parametrize("head", ["none", "the same", "its own"])
def test_heads_are_tied_and_scaled_as_hf_does(
    folder: Path, tied_config: bool | None, head: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    if head != "none":
        own = tensors["shared.weight"].clone()
        tensors["lm_head.weight"] = own + 1 if head == "its own" else own
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    if tied_config is not None:
        config["tie_word_embeddings"] = tied_config
    (folder / "config.json").write_text(json.dumps(config))
    hf = T5ForConditionalGeneration.from_pretrained(folder)
    model = load_student(at(folder))
    assert_same_weights(model, hf)
    assert model.config.tied_head is (hf.lm_head.weight is hf.shared.weight) is (head != "its own")
    assert model.config.scale_decoder_outputs is hf.config.scale_decoder_outputs


@pytest.mark.parametrize("kind", ["shards", "named after the encoder", "more than a T5"])
def test_weights_are_found_where_hf_finds_them(folder: Path, kind: str) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if kind == "shards":
        path.unlink()
        T5ForConditionalGeneration(T5Config.from_pretrained(folder)).save_pretrained(
            folder, max_shard_size="20KB"
        )
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    elif kind == "named after the encoder":
        tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")
        save_file(tensors, path, {"format": "pt"})
    else:
        save_file(tensors | {"something.else": torch.ones(2)}, path, {"format": "pt"})
    assert_same_weights(
        load_student(at(folder)), T5ForConditionalGeneration.from_pretrained(folder)
    )


def test_weights_are_float32_whatever_they_were_saved_in(folder: Path) -> None:
    original = T5ForConditionalGeneration.from_pretrained(folder)
    original.to(torch.bfloat16).save_pretrained(folder)
    loaded = load_student(at(folder))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.shared.weight, original.shared.weight.float())
    assert loaded.device.type == "cpu"


def test_the_built_in_is_the_one_that_hf_builds() -> None:
    assert_same_weights(load_student(MINI), mini_student())


def test_students_are_copies(folder: Path) -> None:
    fresh = untrained(at(folder))
    with torch.no_grad():
        fresh.model().shared.weight.zero_()
    assert np.abs(fresh.weights["shared.weight"]).min() > 0


# Refusals


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def scramble_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x99" * 500)


def widen_config(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"d_ff": 100}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_weights, r"model\.safetensors must be whole safetensors, got"),
        (scramble_weights, r"model\.safetensors must be whole safetensors, got"),
        (widen_config, r"must load as a T5, got \(64, 32\) for encoder\.\S+, which config\.json"),
    ],
)
def test_damaged_weights_do_not_load(folder: Path, spoil: Any, message: str) -> None:
    spoil(folder)
    with pytest.raises(StudentError, match=message):
        untrained(at(folder))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(errno.EIO, "Input/output error"), RuntimeError("CUDA error: x")],
)
def test_a_machine_that_fails_is_no_damaged_student(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    fresh = untrained(at(folder))
    monkeypatch.setattr("tune_distill.students.t5.untrained.load_file", fail)
    with pytest.raises(type(error)):
        fresh.load(folder)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "must fit into this machine's memory"),
        (OSError(errno.EIO, "Input/output error"), "must be readable, got Input/output error"),
    ],
)
def test_a_student_that_the_machine_cannot_read_is_one_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr("tune_distill.students.t5.weights.deserialize", fail)
    with pytest.raises(StudentError, match=f"^student.source: {folder} {message}"):
        untrained(at(folder))


def test_half_a_t5_does_not_load(folder: Path) -> None:
    # HF would make up a decoder, a different one each time.
    T5EncoderModel(T5Config.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(StudentError, match=r"every weight of a T5, got none for decoder\.\S+ and"):
        untrained(at(folder))


# Writing


def test_a_trained_student_is_hf_s_to_read(folder: Path, tmp_path: Path) -> None:
    fresh = untrained(at(folder))
    model = fresh.model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    trained = tmp_path / "trained"
    trained.mkdir()
    fresh.save(trained, model)
    assert_same_weights(T5ForConditionalGeneration.from_pretrained(trained), model)
    assert_same_weights(fresh.load(trained), model)
    assert_same_weights(load_student(at(trained)), model)
    (trained / "model.safetensors").unlink()
    with pytest.raises(StudentError, match="must hold a trained student, got FileNotFoundError"):
        fresh.load(trained)


def test_a_student_of_another_shape_is_no_trained_one(folder: Path, tmp_path: Path) -> None:
    random_t5().save_pretrained(tmp_path / "other")
    with pytest.raises(StudentError, match="not those of its configuration"):
        untrained(at(folder)).load(tmp_path / "other")


@pytest.mark.parametrize("cleans", [False, True])
def test_answers_are_spelt_as_hf_spells_them(folder: Path, cleans: bool) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"clean_up_tokenization_spaces": cleans}
    path.write_text(json.dumps(config))
    fresh = untrained(at(folder))
    assert isinstance(fresh.spelling, PlainSpelling) is not cleans
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "entailment explanation: a man , who sits , does n't stand ."
    rows = [[*tokenizer(text).input_ids, 1, 0, 0], [1], [0, 5, 6, 1]]
    assert fresh.texts(rows) == tokenizer.batch_decode(rows, skip_special_tokens=True)
