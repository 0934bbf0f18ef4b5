"""A student's folder, read once and checked whole: it then behaves as transformers makes it behave.

The check needs no GPU, no Ray and no model of transformers. What it refuses, it refuses at once,
with the reason; what it accepts has the logits of `from_pretrained` and the answers of `generate`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_distill.spec.errors import StudentError
from tune_distill.students.config import StudentConfig, parse_json
from tune_distill.students.generation_rules import GenerationRules, generation_rules
from tune_distill.students.package_files import (
    PackageError,
    PackageFiles,
    matching_files,
    read_package,
)
from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.tokenizer import (
    TOKENIZER_FILES,
    explained,
    load_package_tokenizer,
    require_tokens_fit,
)
from tune_distill.students.weights import (
    HEAD,
    INDEX,
    PATTERN,
    Arrays,
    read_headers,
    read_weights,
    require_fit,
    weight_files,
)

CONFIG, GENERATION, ADAPTER = "config.json", "generation_config.json", "adapter_config.json"

STUDENT_FILES = (CONFIG, GENERATION, INDEX, "*.safetensors", *TOKENIZER_FILES)
"""What a student may be made of. No other file is read, and none of these runs code."""

_MODELS = {"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"}
_MOST_CONFIG_BYTES = 2**20


@dataclass(frozen=True)
class StudentPackage:
    """A student as it was read.

    `identity` is what it is by content. `weights` are float32, by HF's names. `files` are what
    save_pretrained writes beside the weights: file name -> content.
    """

    identity: Mapping[str, str]
    architecture: Architecture
    weights: Arrays
    tokenizer: Any
    files: Mapping[str, bytes]


def read_student_package(folder: Path) -> StudentPackage:
    """Read and check the student in a folder.

    Raises:
        StudentError: it is no T5 that is supported, its files contradict each other or are damaged,
            or the folder changed meanwhile.
    """
    with student_errors(folder):
        return _read(folder)


@contextmanager
def student_errors(folder: Path) -> Iterator[None]:
    """Turn what reading the student in a folder raises into a StudentError."""
    try:
        yield
    except PackageError as error:
        says_where = str(error).startswith(str(folder))
        place = "" if says_where else f"{folder} " if str(error)[:5] == "must " else f"{folder}: "
        raise StudentError(f"student.source: {place}{error}") from error
    except OSError as error:
        raise StudentError(
            f"student.source: {folder} must be readable, got {error.strerror or error}; check its "
            "files"
        ) from error
    except MemoryError as error:
        raise StudentError(
            f"student.source: {folder} must fit into this machine's memory; use a smaller student"
        ) from error


def _read(folder: Path) -> StudentPackage:
    # Not read, but a link that leads nowhere is an incomplete copy.
    matching_files(folder, ("*.json", PATTERN))
    raw = _raw_config(folder)
    config = StudentConfig.of(raw)
    names = weight_files(folder)
    headers = read_headers(folder, names)
    unruled = config.architecture(tied_head=HEAD not in headers, ends=(), pad=0, start=0)
    require_fit(unruled, headers)
    if not config.is_encoder_decoder:
        raise PackageError(
            "config.json: is_encoder_decoder must be true, got false; set it to true"
        )
    settings = read_package(folder, [CONFIG, GENERATION, *TOKENIZER_FILES])
    if parse_json(CONFIG, settings.contents[CONFIG]) != raw:
        raise PackageError(f"{folder} changed while it was read; try again")
    tokenizer = load_package_tokenizer(settings, raw)
    # Odd settings of a tokenizer may show only when it is used.
    with explained(settings.contents):
        require_tokens_fit(tokenizer, config.vocab_size)
    rules = _rules(config, raw, settings, tokenizer)
    stored = read_package(folder, names)
    if set(stored.contents) != set(names):
        raise PackageError(f"{folder} changed while it was read; try again")
    weights = read_weights(stored.contents, unruled)
    architecture = config.architecture(
        tied_head=HEAD not in weights, ends=rules.ends, pad=rules.pad, start=rules.start
    )
    digest = PackageFiles({**settings.contents, **stored.contents}).digest
    with explained(settings.contents):
        files = saved_files(config.model_type, architecture, tokenizer)
    return StudentPackage({"files_digest": digest}, architecture, weights, tokenizer, files)


def _raw_config(folder: Path) -> dict[str, Any]:
    found = matching_files(folder, (CONFIG, ADAPTER))
    if ADAPTER in found:
        raise PackageError(
            f"{folder} must hold a whole student, got an adapter ({ADAPTER}); merge it into its "
            "model and save that"
        )
    if CONFIG not in found:
        raise PackageError(
            f"{folder} has no config.json; "
            "make the directory with model.save_pretrained and tokenizer.save_pretrained"
        )
    content = read_package(folder, [CONFIG]).contents[CONFIG]
    if len(content) > _MOST_CONFIG_BYTES:
        raise PackageError(
            f"{folder}/{CONFIG} must have at most {_MOST_CONFIG_BYTES} bytes, got {len(content)}"
        )
    raw = parse_json(f"{folder}/{CONFIG}", content)
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise PackageError(f"{folder} must hold a T5, got model_type {kind!r:.80}")
    return raw


def _rules(
    config: StudentConfig, raw: Mapping[str, Any], settings: PackageFiles, tokenizer: Any
) -> GenerationRules:
    content = settings.contents.get(GENERATION)
    generation = None if content is None else parse_json(GENERATION, content)
    return generation_rules(config, raw, generation, tokenizer.eos_token_id, tokenizer.pad_token_id)


def saved_files(kind: str, architecture: Architecture, tokenizer: Any) -> dict[str, bytes]:
    """What save_pretrained writes beside the weights of such a student, by file name."""
    from transformers import GenerationConfig, MT5Config, T5Config

    config = (MT5Config if kind == "mt5" else T5Config)(
        architectures=[_MODELS[kind]], **_config_fields(architecture)
    )
    # Set after the fact: T5Config derives them from others.
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
        tokenizer.save_pretrained(folder)
        # A folder holds chat templates, which no study uses.
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in files}


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
