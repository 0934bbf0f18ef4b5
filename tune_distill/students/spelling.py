"""Turns the tokens of answers into texts with the student's own tokenizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from tune_distill.students.tokenizer_files import TOKENIZER_JSON


@dataclass(frozen=True)
class Spelling(ABC):
    """Decodes answers. `files` are a tokenizer's files and others saved with them, by name."""

    files: Mapping[str, bytes]

    def save(self, folder: Path) -> None:
        """Write the files into the folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @abstractmethod
    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens, without special and unknown tokens."""


@dataclass(frozen=True)
class PlainSpelling(Spelling):
    """A tokenizer that the library tokenizers decodes as transformers does.

    So workers need not import transformers, which takes each of them seconds.
    """

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens; see `Spelling.texts`."""
        texts: list[str] = self._tokenizer.decode_batch(answers, skip_special_tokens=True)
        return texts

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_buffer(self.files[TOKENIZER_JSON])
