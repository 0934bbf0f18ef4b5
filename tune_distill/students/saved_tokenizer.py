"""Saves a tokenizer of transformers as files, and decodes answers with such files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.spelling import PlainSpelling, Spelling


def saved_tokenizer(tokenizer: Any) -> dict[str, bytes]:
    """Return the files that save_pretrained writes for a tokenizer: file name -> content."""
    with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        # Skip folders: they hold chat templates, which no study uses.
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in files}


def spelling_of(tokenizer: Any, files: Mapping[str, bytes]) -> Spelling:
    """Return the spelling of a tokenizer that was saved as these files."""
    if tokenizer.is_fast and not tokenizer.clean_up_tokenization_spaces:
        return PlainSpelling(files)
    return TransformersSpelling(files, 1 + max(tokenizer.get_vocab().values()))


@dataclass(frozen=True)
class TransformersSpelling(Spelling):
    """A tokenizer with decoding rules of its own, so that transformers must decode its tokens.

    `num_tokens` counts the tokens that it knows; a student may have embeddings for more.
    """

    num_tokens: int

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens; see `Spelling.texts`."""
        # Tokenizers written in Python may fail on unknown tokens; `tokenizers` skips them.
        known = [[token for token in row if token < self.num_tokens] for row in answers]
        texts: list[str] = self._tokenizer.batch_decode(known, skip_special_tokens=True)
        return texts

    @cached_property
    def _tokenizer(self) -> Any:
        with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            return AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
