"""Loads a student's tokenizer with AutoTokenizer, and checks that it fits the embeddings."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.spec.errors import StudentError
from tune_distill.students.package_files import PackageError, PackageFiles, parse_json
from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.tokenizer_files import (
    SETTINGS,
    TOKENIZER_FILES,
    TOKENIZER_JSON,
    VOCABULARIES,
)
from tune_distill.students.tokens import TokenTable

_MOST_EXTRA_IDS = 100_000

_UNKNOWN = "\u16d7\U0001f9ff \u2e3b\ufffd\ue000"
"""Characters that hardly any vocabulary has."""


def load_package_tokenizer(files: PackageFiles, config: Mapping[str, Any]) -> Any:
    """Return the tokenizer that these files hold, without running any code from them.

    Raises:
        PackageError: there is none, it cannot be loaded, or a package that it needs is missing.
    """
    names = [name for name in TOKENIZER_FILES if name in files.contents]
    _require_reasonable(files, names)
    with explained(names), quiet_transformers(), files.copied(names) as folder:
        # Keep the fields by which AutoTokenizer chooses a class; others may make it build more.
        chosen = {name: config.get(name) for name in ("model_type", "tokenizer_class")}
        (folder / "config.json").write_text(json.dumps(chosen), encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        _require_vocabulary(tokenizer, names)
    return tokenizer


def is_of_content(error: BaseException) -> bool:
    """Return whether the tokenizer's files or a text caused the error, not the machine or a signal.

    The tokenizers library has an error of its own that is not an Exception.
    """
    is_fault = isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime"
    return is_fault and not says_nothing_of_content(error)


@contextmanager
def explained(names: Iterable[str]) -> Iterator[None]:
    """Turn errors that a tokenizer of these files raises in the block into PackageErrors."""
    try:
        yield
    except PackageError:
        raise
    # Parsers raise many kinds of errors for damaged files.
    except BaseException as error:
        if not is_of_content(error):
            raise
        if not any(name in VOCABULARIES for name in names):
            raise PackageError(_NO_TOKENIZER) from error
        reason = " ".join(str(error).split())[:300]
        raise PackageError(
            f"its tokenizer must load with AutoTokenizer, got {type(error).__name__}: {reason}; "
            "save it again with tokenizer.save_pretrained"
        ) from error


_NO_TOKENIZER = (
    "it has no tokenizer (tokenizer.json or spiece.model); save it with tokenizer.save_pretrained"
)


def _require_reasonable(files: PackageFiles, names: list[str]) -> None:
    if not names:
        raise PackageError(_NO_TOKENIZER)
    for name in SETTINGS:
        if name in names:
            fields = parse_json(name, files.contents[name])
            if fields.get("sp_model_kwargs"):
                raise PackageError(
                    f"{name}: sp_model_kwargs must be absent, as they may split a text at random, "
                    f"got {fields['sp_model_kwargs']!r:.80}; remove it"
                )
            extra = fields.get("extra_ids", 0)
            if not isinstance(extra, int) or not 0 <= extra <= _MOST_EXTRA_IDS:
                raise PackageError(
                    f"{name}: extra_ids must be from 0 to {_MOST_EXTRA_IDS}, got {extra!r:.80}"
                )
    if TOKENIZER_JSON in names:
        model = parse_json(TOKENIZER_JSON, files.contents[TOKENIZER_JSON]).get("model")
        if isinstance(model, dict) and model.get("dropout"):
            raise PackageError(
                f"{TOKENIZER_JSON}: model.dropout must be 0 or absent, as it splits a text at "
                f"random, got {model['dropout']!r:.80}; set it to null"
            )
    models = [name for name in names if name.endswith(".model")]
    if TOKENIZER_JSON not in names and models and not _has_sentencepiece():
        raise PackageError(
            f"reading {models[0]} takes the package sentencepiece, which is not installed; install "
            "it, or save the tokenizer with tokenizer.save_pretrained, which writes tokenizer.json"
        )


def _has_sentencepiece() -> bool:
    return importlib.util.find_spec("sentencepiece") is not None


def _require_vocabulary(tokenizer: Any, names: list[str]) -> None:
    """Raise PackageError if the vocabulary's file is missing: transformers makes an empty one."""
    needed = {
        name
        for kind, name in tokenizer.vocab_files_names.items()
        if kind in ("vocab_file", "tokenizer_file")
    }
    if needed and not {TOKENIZER_JSON, *needed} & set(names):
        raise PackageError(_NO_TOKENIZER)


def require_tokens_fit(tokenizer: Any, vocab_size: int) -> None:
    """Check that the tokenizer fits a student with `vocab_size` embeddings.

    Raises:
        PackageError: it has tokens without an embedding, adds more than its end token after a text,
            or truncates texts at their beginning.
        Exception: it fails on a text of characters that it does not know.
    """
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= vocab_size:
        raise PackageError(
            f"its tokenizer must fit its embeddings, which end at {vocab_size - 1}, got the token "
            f"{token!r:.80} with the number {largest}; call "
            "model.resize_token_embeddings(len(tokenizer)) and save both again"
        )
    used = max(tokenizer("a")["input_ids"] + tokenizer(_UNKNOWN)["input_ids"])
    if used >= vocab_size:
        raise PackageError(
            f"its tokenizer must fit its embeddings, which end at {vocab_size - 1}, got the "
            f"number {used} in a text; correct the template of its post-processor"
        )
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = len(whole) - len(plain) - int(adds_end(tokenizer))
    if start < 0 or whole[start : start + len(plain)] != plain:
        raise PackageError(
            "its tokenizer must put nothing but the end token behind a text, got "
            f"{whole!r:.80} for {plain!r:.80}; use another tokenizer"
        )
    if tokenizer.truncation_side != "right":
        raise PackageError(
            "tokenizer_config.json: truncation_side must be right, as studies cut long texts at "
            f"their end, got {tokenizer.truncation_side!r:.80}; correct it"
        )


def adds_end(tokenizer: Any) -> bool:
    """Return whether the tokenizer itself adds the end token after a text."""
    return bool(tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id])


def tokenize(tokenizer: Any, texts: Sequence[str]) -> TokenTable:
    """Return the tokens of the texts, each text with its end token.

    Raises:
        StudentError: the tokenizer fails on one of the texts.
    """
    # Keep the tokenizer's own special tokens, as transformers' trainers do. Some T5 tokenizers were
    # saved without their end token.
    end = [] if adds_end(tokenizer) else [tokenizer.eos_token_id]
    try:
        encoded = tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    # Some tokenizers fail on characters that they do not know.
    except BaseException as error:
        if not is_of_content(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise StudentError(
            "student.source: its tokenizer must split all texts of the data, got "
            f"{type(error).__name__}: {reason}; give it a token for what it does not know"
        ) from error
    rows = [np.asarray([*ids, *end], dtype=np.int32) for ids in encoded]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return TokenTable(np.concatenate(rows), offsets)
