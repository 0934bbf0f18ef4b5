"""Configurations are read as in transformers, and shapes are those of its models."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig, MT5Config, T5Config, T5ForConditionalGeneration
from transformers.utils import logging

from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.t5 import generation_rules
from tune_distill.students.t5.architecture import ACTIVATIONS, Architecture
from tune_distill.students.t5.config import StudentConfig
from tune_distill.students.t5.model import T5

SIZES = st.integers(1, 9)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "vocab_size": SIZES,
    "d_model": SIZES,
    "d_kv": SIZES,
    "d_ff": SIZES,
    "num_layers": st.integers(1, 3),
    "num_decoder_layers": st.none() | st.integers(1, 3),
    "num_heads": SIZES,
    "relative_attention_num_buckets": st.integers(4, 64),
    "relative_attention_max_distance": st.integers(33, 200),
    "dropout_rate": st.sampled_from([0, 0.0, 0.25]),
    "layer_norm_epsilon": st.sampled_from([1e-6, 1e-3]),
    "feed_forward_proj": st.sampled_from(
        [f"{gate}{name}" for gate in ("", "gated-") for name in ACTIVATIONS]
    ),
    "dense_act_fn": st.sampled_from(ACTIVATIONS),
    "is_gated_act": st.booleans(),
    "scale_decoder_outputs": st.booleans(),
    "tie_word_embeddings": st.none() | st.booleans(),
}
TOKENS = {"ends": (1,), "pad": 0, "start": 0}


@settings(max_examples=200, deadline=None)
@given(raw=st.fixed_dictionaries({}, optional=FIELDS), tied=st.booleans())
def test_fields_have_the_meaning_and_the_defaults_of_transformers(
    raw: dict[str, Any], tied: bool
) -> None:
    ours = StudentConfig.of({"model_type": "t5"} | raw).architecture(tied_head=tied, **TOKENS)
    theirs = T5Config.from_dict(raw | {"decoder_start_token_id": 0})
    assert ours == Architecture.of(theirs, tied_head=tied)


def test_mt5_has_defaults_of_its_own_and_never_scales() -> None:
    ours = StudentConfig.of({"model_type": "mt5"}).architecture(tied_head=False, **TOKENS)
    theirs = MT5Config()
    theirs.scale_decoder_outputs = False
    assert ours == Architecture.of(theirs, tied_head=False)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_shapes_are_those_of_the_models_in_their_order(kind: str, tied: bool) -> None:
    config = T5Config(
        vocab_size=50,
        d_model=24,
        d_kv=10,
        d_ff=40,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=3,
        feed_forward_proj=kind,
        decoder_start_token_id=0,
    )
    architecture = Architecture.of(config, tied_head=tied)
    theirs = T5ForConditionalGeneration(config)
    if not tied:
        theirs.lm_head.weight = torch.nn.Parameter(torch.zeros(50, 24))
    expected = [(name, tuple(value.shape)) for name, value in theirs.named_parameters()]
    assert list(architecture.shapes()) == expected
    assert dict(architecture.shapes()) == T5(architecture).shapes()


# Fields of GenerationConfig that may have any value. The decode section overrides these.
OVERRIDDEN = {
    "max_length",
    "max_new_tokens",
    "do_sample",
    "num_beams",
    "temperature",
    "top_k",
    "top_p",
    "num_return_sequences",
}
# Special tokens are honoured.
HONOURED = {"eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id"}
# These change no answer: caches, what is returned, and assistants, which are never passed.
HARMLESS = {
    "use_cache",
    "cache_implementation",
    "cache_config",
    "max_cache_len",
    "renormalize_logits",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "target_lookbehind",
    "max_matching_ngram_size",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "low_memory",
    "prefill_chunk_size",
    "transformers_version",
}


def test_every_field_that_generate_knows_is_honoured_overridden_or_checked() -> None:
    known = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    checked = set(generation_rules.WITHOUT_EFFECT)
    assert known - checked <= OVERRIDDEN | HONOURED | HARMLESS
    assert not checked & (OVERRIDDEN | HONOURED | HARMLESS)


@pytest.mark.parametrize("bars", [False, True])
def test_transformers_logs_again_as_it_did_before_the_block(bars: bool) -> None:
    before, drew = logging.get_verbosity(), logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    logging.set_verbosity_info()
    try:
        with suppress(KeyError), quiet_transformers():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            raise KeyError
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled() is bars
    finally:
        logging.set_verbosity(before)
        (logging.enable_progress_bar if drew else logging.disable_progress_bar)()
