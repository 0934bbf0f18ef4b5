"""The files that a tokenizer may be made of."""

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
"""Files of which one holds a tokenizer's vocabulary; a ByT5's tokenizer needs none."""

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", *SETTINGS)
