"""A student that would behave unlike in transformers is refused in the driver, with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.students.student_forms import WEIGHTS, edit_json, edit_weights, sharded, stored_as
from tests.tiny import at
from tune_distill.spec.errors import StudentError
from tune_distill.students.registry import num_parameters, student_identity
from tune_distill.students.t5.model import T5
from tune_distill.students.t5.package import KIND

INDEX = "model.safetensors.index.json"
FIRST_WO = "encoder.block.0.layer.1.DenseReluDense.wo.weight"

Spoil = Callable[[Path], Any]


def config(**fields: Any) -> Spoil:
    return lambda folder: edit_json(folder / "config.json", **fields)


def generation(**fields: Any) -> Spoil:
    return lambda folder: edit_json(folder / "generation_config.json", **fields)


def tokenizer_config(**fields: Any) -> Spoil:
    return lambda folder: edit_json(folder / "tokenizer_config.json", **fields)


def tokenizer_json(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        raw = json.loads((folder / "tokenizer.json").read_text())
        change(raw)
        (folder / "tokenizer.json").write_text(json.dumps(raw))

    return spoil


def words_alone(folder: Path) -> None:
    """Make the tokenizer fail on every word that it does not know."""

    def change(raw: dict[str, Any]) -> None:
        known = raw["model"]["vocab"]
        raw["model"] = {"type": "WordLevel", "vocab": known, "unk_token": "<gone>"}

    tokenizer_json(change)(folder)
    edit_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def start_with(number: int) -> Spoil:
    """Return a change that makes the tokenizer put the token of this number before each text."""

    def change(raw: dict[str, Any]) -> None:
        template = [{"SpecialToken": {"id": "<x>", "type_id": 0}}]
        text = [{"Sequence": {"id": "A", "type_id": 0}}]
        end = [{"SpecialToken": {"id": "</s>", "type_id": 0}}]
        raw["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [*template, *text, *end],
            "pair": [*template, *text, *end],
            "special_tokens": {
                "<x>": {"id": "<x>", "ids": [number], "tokens": ["<x>"]},
                "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]},
            },
        }

    return tokenizer_json(change)


def content(name: str, written: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(written)


def weight(value: float) -> Spoil:
    return lambda folder: edit_weights(folder, lambda t: t[FIRST_WO].view(-1)[3].fill_(value))


def cast(dtype: torch.dtype) -> Spoil:
    return lambda folder: edit_weights(
        folder, lambda t: t.update({FIRST_WO: t[FIRST_WO].to(dtype)})
    )


def index(change: Callable[[dict[str, str]], Any]) -> Spoil:
    """Return a change that shards the weights and changes their index."""

    def spoil(folder: Path) -> None:
        sharded(folder)
        raw = json.loads((folder / INDEX).read_text())
        change(raw["weight_map"])
        (folder / INDEX).write_text(json.dumps(raw))

    return spoil


def point_shards_at(name: str) -> Spoil:
    return index(lambda listed: listed.update({"shared.weight": name}))


def remove_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00004.safetensors").unlink()


def two_sets_without_index(folder: Path) -> None:
    sharded(folder)
    (folder / INDEX).unlink()
    save_file({"a": torch.zeros(1)}, folder / "model-00001-of-00002.safetensors")


def half_a_set_without_index(folder: Path) -> None:
    remove_a_shard(folder)
    (folder / INDEX).unlink()


def doubled_weight(folder: Path) -> None:
    sharded(folder)
    for path in sorted(folder.glob("model-*.safetensors")):
        tensors = load_file(path)
        save_file(tensors | {"shared.weight": torch.zeros(600, 32)}, path, {"format": "pt"})


def dangling(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder / "gone")

    return spoil


def make_folder(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


def add_a_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["woman-like"])
    tokenizer.save_pretrained(folder)


def without_special(name: str) -> Spoil:
    """Return a change that removes a special token, such as the end or the padding."""
    return tokenizer_config(**{name: ...})


def ends_in_other_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<unk>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<unk>": {"id": "<unk>", "ids": [2], "tokens": ["<unk>"]}},
    }
    path.write_text(json.dumps(raw))


def other_embeddings(folder: Path) -> None:
    edit_weights(
        folder, lambda t: t.update({"encoder.embed_tokens.weight": t["shared.weight"] + 1})
    )


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def no_vocabulary(folder: Path) -> None:
    """Remove the vocabulary.

    transformers would make a tokenizer of 104 tokens that knows no word.
    """
    (folder / "tokenizer.json").unlink()
    edit_json(folder / "tokenizer_config.json", tokenizer_class="T5Tokenizer")


REFUSED: dict[str, tuple[Spoil, str]] = {
    "negative size": (config(d_kv=-4), r"config\.json: d_kv must be greater than or equal to 1"),
    "many layers": (
        config(num_layers=1_000_000),
        r"num_layers must be less than .* 1000, got 1000",
    ),
    "more layers": (
        config(num_layers=900),
        r"every weight of a T5, got none for encoder\.block\.2",
    ),
    "no vocabulary": (config(vocab_size=0), "vocab_size must be greater .*, got 0"),
    "absurd vocabulary": (config(vocab_size=2**40), "vocab_size must be less than"),
    "larger vocabulary": (config(vocab_size=601), r"got \(600, 32\) for shared\.weight, which"),
    "boolean size": (config(d_model=True), "d_model must be a valid integer, got True"),
    "size in words": (config(d_model="32"), "d_model must be a valid integer, got '32'"),
    "null size": (config(d_ff=None), "d_ff must be a valid integer, got None"),
    "fractional size": (config(d_ff=64.5), "d_ff must be a valid integer"),
    "all faults": (config(d_ff=0, d_kv=0, num_heads=0, num_layers=0), "d_kv .*, and 1 more"),
    "too few buckets": (config(relative_attention_num_buckets=2), "num_buckets must be greater"),
    "no distance": (config(relative_attention_max_distance=16), "max_distance must be above 16"),
    "full dropout": (config(dropout_rate=1.0), "dropout_rate must be less than 1"),
    "NaN epsilon": (config(layer_norm_epsilon=float("nan")), "layer_norm_epsilon must be a finite"),
    "other activation": (config(dense_act_fn="tanh"), "feed_forward_proj must be one of gelu"),
    "other projection": (config(feed_forward_proj="a-b-c"), "feed_forward_proj String must match"),
    "another name": (config(hidden_size=48), r"hidden_size must be d_model's value, 32, got 48"),
    "umT5": (config(model_type="umt5"), "must hold a T5, got model_type 'umt5'"),
    "list as type": (config(model_type=["t5"]), r"must hold a T5, got model_type \['t5'\]"),
    "encoder alone": (config(is_encoder_decoder=False), "is_encoder_decoder must be true"),
    "quantised": (config(quantization_config={"load_in_8bit": True}), "quantised weights cannot"),
    "compressed": (config(compression_config={"format": "x"}), "compressed weights cannot be tr"),
    "cut from the left": (
        tokenizer_config(truncation_side="left"),
        "truncation_side must be right",
    ),
    "elsewhere": (config(transformers_weights="x.safetensors"), "weights are read from model"),
    "deep config": (content("config.json", b"[" * 100_000), r"config\.json must be JSON: .*deeply"),
    "no text": (content("config.json", b"\xff\xfe{"), r"config\.json must be JSON: 'utf-8'"),
    "huge config": (content("config.json", b" " * 2**21), "must have at most 1048576 bytes"),
    "deep tokens": (content("tokenizer_config.json", b'{"a":' * 9**5), "tokenizer_config.*deeply"),
    "deep index": (
        lambda f: (sharded(f), content(INDEX, b"[" * 9**5)(f)),
        "index.json must be JSON",
    ),
    "dangling config": (dangling("config.json"), r"config\.json must be a file, got a link that"),
    "dangling weights": (dangling(WEIGHTS), r"model\.safetensors must be a file, got a link"),
    "dangling extra": (dangling("extra.json"), r"extra\.json must be a file, got a link"),
    "folder extra": (make_folder("extra.json"), r"extra\.json must be a file, got a folder"),
    "folder weights": (make_folder(WEIGHTS), r"model\.safetensors must be a file, got a folder"),
    "loop of links": (
        lambda folder: (folder / "extra.json").symlink_to(folder / "extra.json"),
        "must be readable, got Too many levels of symbolic links; check its files",
    ),
    "pipe": (lambda folder: os.mkfifo(folder / "extra.json"), "must be a file, got a device or"),
    "pickled": (
        pickled,
        r"no weights \(model\*\.safetensors\); save them with model\.save_pretrain",
    ),
    "adapter": (content("adapter_config.json", b"{}"), "must hold a whole student, got an adapter"),
    "NaN": (weight(float("nan")), rf"got NaN in {FIRST_WO}: the student was damaged before"),
    "infinity": (weight(float("inf")), rf"got infinite numbers in {FIRST_WO}"),
    "beyond float32": (
        lambda folder: (stored_as(torch.float64)(folder), weight(1e300)(folder)),
        "got infinite numbers in",
    ),
    "complex": (cast(torch.complex64), rf"float16 or bfloat16, got C64 for {FIRST_WO}"),
    "bool": (cast(torch.bool), rf"float16 or bfloat16, got BOOL for {FIRST_WO}"),
    "integers": (cast(torch.int8), "float16 or bfloat16, got I8 for"),
    "float8": (cast(torch.float8_e4m3fn), "float16 or bfloat16, got F8_E4M3 for"),
    "two embeddings": (other_embeddings, "must have one table of embeddings, got another one in"),
    "missing shard": (remove_a_shard, r"has no model-00002-of-00004\.safetensors, which is one of"),
    "two sets": (two_sets_without_index, "must hold one set of shards, got sets of 00002 and of"),
    "half a set": (half_a_set_without_index, r"has no model-00002-of-00004\.safetensors"),
    "doubled weight": (
        doubled_weight,
        "must hold other weights than the shards before, got shared",
    ),
    "shard outside": (point_shards_at("../x.safetensors"), r"beside it, got '\.\./x\.safetensors'"),
    "absolute shard": (point_shards_at("/etc/x.safetensors"), "must name safetensors files beside"),
    "shards by pattern": (
        point_shards_at("model*.safetensors"),
        "must name safetensors files beside",
    ),
    "pickled shard": (
        point_shards_at("model.bin"),
        "must name safetensors files beside it, got 'mo",
    ),
    "shard by number": (
        index(lambda m: m.update(a=1)),
        "must name safetensors files beside it, got 1",
    ),
    "empty index": (index(dict.clear), "must have a weight_map of file names"),
    "other end": (
        generation(eos_token_id=2),
        r"generation_config\.json: eos_token_id must hold .* 1,",
    ),
    "never ends": (
        generation(eos_token_id=...),
        "must hold the tokenizer's end token, 1, .* got noth",
    ),
    "ends in words": (
        generation(eos_token_id="</s>"),
        "eos_token_id must be a token's number, got",
    ),
    "end outside": (
        generation(eos_token_id=[1, 600]),
        "eos_token_id must be below vocab_size, 600",
    ),
    "start outside": (
        lambda f: (
            generation(decoder_start_token_id=700)(f),
            config(decoder_start_token_id=700)(f),
        ),
        "decoder_start_token_id must be below vocab_size, 600, got 700",
    ),
    "two starts": (
        generation(decoder_start_token_id=3),
        "must be generation_config.json's, 3, got 0",
    ),
    "starts at bos": (
        generation(decoder_start_token_id=..., bos_token_id=5),
        "must be generation_config.json's, 5, got 0",
    ),
    "other padding": (
        config(pad_token_id=2),
        r"config\.json: pad_token_id must be the tokenizer's, 0",
    ),
    "other filling": (generation(pad_token_id=2), "pad_token_id must be the tokenizer's, 0, got 2"),
    "no end token": (without_special("eos_token"), r"the tokenizer has no end token"),
    "no padding": (without_special("pad_token"), r"the tokenizer has no padding token"),
    "length penalty": (
        generation(length_penalty=2.0),
        "length_penalty must be 1.0 or absent, got 2.0",
    ),
    "no repeats": (generation(no_repeat_ngram_size=3), "no_repeat_ngram_size must be 0 or absent"),
    "least length": (generation(min_length=5), "min_length must be 0 or absent, got 5"),
    "early stopping": (generation(early_stopping=True), "early_stopping must be False or absent"),
    "bad words": (generation(bad_words_ids=[[5]]), r"bad_words_ids must be \[\] or absent"),
    "suppressed": (generation(suppress_tokens=[4]), r"suppress_tokens must be \[\] or absent"),
    "forced end": (generation(forced_eos_token_id=1), "forced_eos_token_id must be None or absent"),
    "penalty of old": (
        lambda f: ((f / "generation_config.json").unlink(), config(repetition_penalty=1.5)(f)),
        r"config\.json: repetition_penalty must be 1\.0 or absent, got 1\.5",
    ),
    "token outside": (
        add_a_token,
        "end at 599, got the token 'woman-like' with the number 600; call",
    ),
    "ends otherwise": (ends_in_other_tokens, "must put nothing but the end token behind a text"),
    "no tokenizer": (no_vocabulary, r"it has no tokenizer \(tokenizer\.json or spiece\.model\)"),
    "drawn splits": (
        tokenizer_json(lambda raw: raw["model"].update(dropout=0.1)),
        r"tokenizer\.json: model\.dropout must be 0 or absent, as it splits a text at random",
    ),
    "drawn pieces": (
        tokenizer_config(sp_model_kwargs={"enable_sampling": True, "alpha": 0.5}),
        r"sp_model_kwargs must be absent, as they may split a text at random",
    ),
    "scaling null": (
        config(scale_decoder_outputs=None),
        "scale_decoder_outputs must have a value or be absent, got null",
    ),
    "gating null": (config(is_gated_act=None), "is_gated_act must have a value or be absent"),
    "activation null": (config(dense_act_fn=None), "dense_act_fn must have a value or be absent"),
    "panics": (
        tokenizer_json(
            lambda raw: raw.update(
                normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAAAAA="}
            )
        ),
        "its tokenizer must load with AutoTokenizer, got ",
    ),
    "nothing unknown": (
        words_alone,
        r"its tokenizer must load with AutoTokenizer, got .*Missing \[UNK\] token",
    ),
    "template outside": (
        start_with(5000),
        "end at 599, got the number 5000 in a text; correct the template",
    ),
    "extra ids": (
        tokenizer_config(extra_ids=10**9),
        "extra_ids must be from 0 to 100000, got 10000",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_student_is_refused_with_the_reason(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, message = REFUSED[kind]
    spoil(folder)

    def build(*_: Any) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(T5, "__init__", build)
    with pytest.raises(StudentError) as caught:
        student_identity(at(folder))
    text = str(caught.value)
    assert text.startswith("student.source: ")
    assert len(text) < 1000
    assert len(text.splitlines()) == 1
    with pytest.raises(StudentError, match=message):
        raise caught.value


def test_a_student_that_went_away_is_one_error_when_it_is_measured(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(StudentError, match="has no weights"):
        num_parameters(at(folder))


def test_a_student_larger_than_memory_is_refused_by_its_headers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    with pytest.raises(StudentError, match="must fit into this machine's memory"):
        student_identity(at(folder))


def test_code_beside_a_tokenizer_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    edit_json(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        tokenizer_class="Evil",
    )
    with suppress(StudentError):
        KIND.read(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["trainer_state.json", "optimizer.safetensors", "README.md"])
def test_files_that_are_not_read_do_not_count(folder: Path, name: str) -> None:
    before = student_identity(at(folder))
    (folder / name).write_text("{}")
    assert student_identity(at(folder)) == before
    assert num_parameters(at(folder)) > 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 700) | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_in_any_field_is_taken_or_refused(folder: Path, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["config.json", "generation_config.json", "tokenizer_config.json"])
    )
    path = folder / name
    before = path.read_bytes()
    field = data.draw(st.sampled_from(sorted(json.loads(before))))
    edit_json(path, **{field: data.draw(VALUES)})
    try:
        with suppress(StudentError):
            KIND.read(folder)
    finally:
        path.write_bytes(before)
