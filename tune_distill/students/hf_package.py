"""Reads a seq2seq model of transformers from a folder once, and tries it before a worker starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoConfig, GenerationConfig

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.spec.profile import Decode
from tune_distill.students.built_in import BUILT_IN
from tune_distill.students.folder import (
    CONFIG,
    GENERATION,
    read_config,
    read_small_files,
    read_stored,
    student_errors,
)
from tune_distill.students.hf import ATTENTION, UntrainedHf, load_hf
from tune_distill.students.package_files import PackageError, PackageFiles
from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.saved_tokenizer import saved_tokenizer, spelling_of
from tune_distill.students.tokenizer import (
    explained,
    load_package_tokenizer,
    require_tokens_fit,
    tokenize,
)
from tune_distill.students.tokens import Pairs, TokenTable
from tune_distill.students.weight_files import (
    num_elements,
    read_headers,
    require_memory,
    weight_files,
)

COMPUTED = {
    "transformers": ".".join(transformers.__version__.split(".")[:2]),
    "attention": ATTENTION,
}
"""The library that computes such a student, as part of its identity: the numbers depend on it."""

# Fields that make from_pretrained do more than load weights into classes of transformers.
_REFUSED = ("quantization_config", "compression_config", "auto_map")


@dataclass(frozen=True)
class HfPackage:
    """A model of transformers and its tokenizer, as they were read."""

    identity: Mapping[str, str]
    tokenizer: Any
    student: UntrainedHf

    def encode(self, texts: Sequence[str]) -> TokenTable:
        """Return the tokens of the texts, each text with its end token."""
        return tokenize(self.tokenizer, texts)

    def untrained(self) -> UntrainedHf:
        """Return the untrained student, which is sent to the workers."""
        return self.student


class HfKind:
    """Any seq2seq text model of transformers, computed by transformers."""

    def read(self, folder: Path) -> HfPackage:
        """Read the student in a folder, and let it answer once.

        Raises:
            StudentError: it is not a seq2seq model, its files contradict each other or are damaged,
                or the folder changed while it was read.
        """
        with student_errors(folder):
            return _read(folder)

    def built_in(self, hf: Any, tokenizer: Any) -> HfPackage:
        """Return the embedded student, given as a model of transformers and its tokenizer."""
        spelling = spelling_of(tokenizer, saved_tokenizer(tokenizer))
        hf.set_attn_implementation(ATTENTION)
        return HfPackage(BUILT_IN | COMPUTED, tokenizer, UntrainedHf.of(hf, spelling))


KIND = HfKind()


def _read(folder: Path) -> HfPackage:
    raw = read_config(folder)
    for name in _REFUSED:
        if raw.get(name):
            raise PackageError(f"{CONFIG}: {name} must be absent, got one; use a plain student")
    names = weight_files(folder)
    _require_reasonable(raw, read_headers(folder, names))
    small_files = read_small_files(folder, raw)
    tokenizer = load_package_tokenizer(small_files, raw)
    stored = read_stored(folder, names)
    try:
        hf = _model(small_files, stored)
    except Exception as error:  # parsers raise many kinds of errors for damaged files
        if says_nothing_of_content(error) or isinstance(error, PackageError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise PackageError(
            f"{folder} must load with AutoModelForSeq2SeqLM, got {type(error).__name__}: {reason}"
        ) from error
    # Some faults in a tokenizer's settings show only when it is used.
    with explained(small_files.contents):
        require_tokens_fit(tokenizer, hf.get_input_embeddings().num_embeddings)
        spelling = spelling_of(tokenizer, saved_tokenizer(tokenizer))
    _set_special_tokens(hf, tokenizer)
    digest = PackageFiles({**small_files.contents, **stored.contents}).digest
    try:
        untrained = UntrainedHf.of(hf, spelling)
    except ValueError as error:
        raise PackageError(f"{CONFIG} must describe its weights: {error}; save it again") from error
    package = HfPackage({"files_digest": digest} | COMPUTED, tokenizer, untrained)
    _try_out(package)
    return package


def _require_reasonable(config: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
    """Raise PackageError if there are more layers than tensors, or the weights exceed memory."""
    for name, value in config.items():
        if name.endswith("layers") and isinstance(value, int) and value > len(headers):
            raise PackageError(
                f"{CONFIG}: {name} must be at most {len(headers)}, the number of its tensors, got "
                f"{value}"
            )
    require_memory(sum(num_elements(shape) for _, shape in headers.values()))


def _model(small_files: PackageFiles, stored: PackageFiles) -> Any:
    with quiet_transformers(), small_files.copied() as copy:
        config = AutoConfig.from_pretrained(copy, trust_remote_code=False, local_files_only=True)
        generation = GenerationConfig.from_model_config(config)
        if GENERATION in small_files.contents:
            generation = GenerationConfig.from_pretrained(copy, local_files_only=True)
    if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        raise PackageError(
            f"{CONFIG}: model_type must be of a seq2seq model, got {config.model_type!r:.80}"
        )
    tensors: dict[str, torch.Tensor] = {}
    for content in stored.contents.values():
        tensors |= safetensors.torch.load(content)
    hf = load_hf(
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(config)],
        None,
        config=config,
        state_dict=tensors,
    )
    hf.generation_config = generation
    return hf


def _set_special_tokens(hf: Any, tokenizer: Any) -> None:
    """Set the model's start and padding tokens explicitly, and check its end token.

    Raises:
        PackageError: the model's tokens are not the tokenizer's, or there is no start token.
    """
    generation, config = hf.generation_config, hf.config
    ends = generation.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    if tokenizer.eos_token_id not in ends:
        raise PackageError(
            "eos_token_id must hold the tokenizer's end token, with which training ends every "
            f"text, {tokenizer.eos_token_id}, got {ends!r:.80}; correct the one that is wrong"
        )
    pad = tokenizer.pad_token_id
    if pad is None or generation.pad_token_id not in (None, pad):
        raise PackageError(
            f"pad_token_id must be the tokenizer's, got {generation.pad_token_id} and {pad}; "
            "correct the one that is wrong"
        )
    for name in ("decoder_start_token_id", "bos_token_id"):
        token = getattr(generation, name)
        if token is not None and not isinstance(token, int):
            raise PackageError(f"{GENERATION}: {name} must be one token, got {token!r:.80}")
    starts = (
        generation.decoder_start_token_id,
        config.decoder_start_token_id if hasattr(config, "decoder_start_token_id") else None,
        generation.bos_token_id,
        pad if config.model_type in ("t5", "mt5", "umt5") else None,
    )
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise PackageError(f"{GENERATION}: decoder_start_token_id must be there; add it")
    generation.pad_token_id, generation.decoder_start_token_id = pad, start


def _try_out(package: HfPackage) -> None:
    """Raise PackageError if the student cannot be trained on a text or cannot answer it."""
    model = package.student.model()
    [row] = package.encode(["a"]).rows(1, 16)
    try:
        with torch.no_grad():
            model.label_logits(Pairs([row], [row]), [0])
        for strategy in ("greedy", "beam", "sample"):
            asked = Decode.model_validate({"strategy": strategy, "max_new_tokens": 2})
            model.generate(package.student.texts, [row], asked)
    except Exception as error:  # models raise many kinds of errors
        if says_nothing_of_content(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise PackageError(
            f"must learn from texts and answer them, got {type(error).__name__}: {reason}; use "
            "another student"
        ) from error
