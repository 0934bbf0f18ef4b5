"""Reads a T5's folder once and checks all of it.

The check needs no GPU, no Ray and no model of transformers. It refuses a folder at once, with the
reason. A T5 that it accepts has the logits of `from_pretrained` and the answers of `generate`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, MT5Config, T5Config

from tune_distill.students.built_in import BUILT_IN
from tune_distill.students.folder import (
    GENERATION,
    read_config,
    read_small_files,
    read_stored,
    student_errors,
)
from tune_distill.students.package_files import PackageError, PackageFiles, parse_json
from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.saved_tokenizer import saved_tokenizer, spelling_of
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.config import StudentConfig
from tune_distill.students.t5.generation_rules import GenerationRules, generation_rules
from tune_distill.students.t5.untrained import UntrainedT5
from tune_distill.students.t5.weights import HEAD, Arrays, read_weights, require_fit
from tune_distill.students.tokenizer import (
    explained,
    load_package_tokenizer,
    require_tokens_fit,
    tokenize,
)
from tune_distill.students.tokens import TokenTable
from tune_distill.students.weight_files import read_headers, weight_files

_MODELS = {"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"}


@dataclass(frozen=True)
class T5Package:
    """A T5 as it was read.

    `weights` are float32, by HF's names. `files` are those that save_pretrained writes beside the
    weights: file name -> content.
    """

    identity: Mapping[str, str]
    architecture: Architecture
    weights: Arrays
    tokenizer: Any
    files: Mapping[str, bytes]

    def encode(self, texts: Sequence[str]) -> TokenTable:
        """Return the tokens of the texts, each text with its end token."""
        return tokenize(self.tokenizer, texts)

    def untrained(self) -> UntrainedT5:
        """Return the T5 as workers get it."""
        return UntrainedT5(self.architecture, self.weights, spelling_of(self.tokenizer, self.files))


class T5Kind:
    """T5 and mT5, computed by this package."""

    def read(self, folder: Path) -> T5Package:
        """Read and check the T5 in a folder.

        Raises:
            StudentError: it is not a supported T5, its files contradict each other or are
                damaged, or the folder changes while it is read.
        """
        with student_errors(folder):
            return _read(folder)

    def built_in(self, hf: Any, tokenizer: Any) -> T5Package:
        """Return the embedded student, given as a model of transformers and its tokenizer."""
        architecture = Architecture.of(hf.config, tied_head=True)
        return T5Package(
            BUILT_IN,
            architecture,
            {name: value.detach().numpy() for name, value in hf.named_parameters()},
            tokenizer,
            saved_files("t5", architecture, tokenizer),
        )


KIND = T5Kind()


def _read(folder: Path) -> T5Package:
    raw = read_config(folder)
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise PackageError(
            f"{folder} must hold a T5, got model_type {kind!r:.80}; transformers' own models are "
            "read with --set student.kind=hf"
        )
    config = StudentConfig.of(raw)
    names = weight_files(folder)
    headers = read_headers(folder, names)
    unruled = config.architecture(tied_head=HEAD not in headers, ends=(), pad=0, start=0)
    require_fit(unruled, headers)
    if not config.is_encoder_decoder:
        raise PackageError(
            "config.json: is_encoder_decoder must be true, got false; set it to true"
        )
    small_files = read_small_files(folder, raw)
    tokenizer = load_package_tokenizer(small_files, raw)
    # Faulty settings of a tokenizer may show only when it is used.
    with explained(small_files.contents):
        require_tokens_fit(tokenizer, config.vocab_size)
    rules = _rules(config, raw, small_files, tokenizer)
    stored = read_stored(folder, names)
    weights = read_weights(stored.contents, unruled)
    architecture = config.architecture(
        tied_head=HEAD not in weights, ends=rules.ends, pad=rules.pad, start=rules.start
    )
    digest = PackageFiles({**small_files.contents, **stored.contents}).digest
    with explained(small_files.contents):
        files = saved_files(config.model_type, architecture, tokenizer)
    return T5Package({"files_digest": digest}, architecture, weights, tokenizer, files)


def _rules(
    config: StudentConfig, raw: Mapping[str, Any], small_files: PackageFiles, tokenizer: Any
) -> GenerationRules:
    content = small_files.contents.get(GENERATION)
    generation = None if content is None else parse_json(GENERATION, content)
    return generation_rules(config, raw, generation, tokenizer.eos_token_id, tokenizer.pad_token_id)


def saved_files(kind: str, architecture: Architecture, tokenizer: Any) -> dict[str, bytes]:
    """Return the files that save_pretrained writes beside such a student's weights, by name."""
    config = (MT5Config if kind == "mt5" else T5Config)(
        architectures=[_MODELS[kind]], **_config_fields(architecture)
    )
    # Set afterwards, because T5Config derives them from other fields.
    for name in ("dense_act_fn", "is_gated_act", "scale_decoder_outputs"):
        setattr(config, name, getattr(architecture, name))
    ends = architecture.eos_token_ids
    tokens = {
        "eos_token_id": ends[0] if len(ends) == 1 else list(ends),
        "pad_token_id": architecture.pad_token_id,
        "decoder_start_token_id": architecture.decoder_start_token_id,
    }
    for name, value in tokens.items():
        setattr(config, name, value)
    with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        GenerationConfig(**tokens).save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return files | saved_tokenizer(tokenizer)


def _config_fields(architecture: Architecture) -> dict[str, Any]:
    names = (
        "vocab_size",
        "d_model",
        "d_kv",
        "d_ff",
        "num_layers",
        "num_decoder_layers",
        "num_heads",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "dropout_rate",
        "layer_norm_epsilon",
    )
    activation = architecture.dense_act_fn
    if architecture.is_gated_act:
        activation = f"gated-{'gelu' if activation == 'gelu_new' else activation}"
    return {name: getattr(architecture, name) for name in names} | {"feed_forward_proj": activation}
