"""The files that a tokenizer may consist of."""

from __future__ import annotations

TOKENIZER_JSON = "tokenizer.json"

VOCABULARIES = (
    TOKENIZER_JSON,
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
"""One of these files holds a tokenizer's vocabulary; the tokenizer of ByT5 needs none."""

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", *SETTINGS)
