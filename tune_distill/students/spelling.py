"""Answers in tokens become texts, as the student's own tokenizer writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tune_distill.students.quiet import quiet_transformers


@dataclass(frozen=True)
class Spelling:
    """A tokenizer's files, by name, and what decoding with them needs to know.

    `decodes_plainly` says whether the tokenizers library alone decodes as transformers does, whose
    import takes seconds. `num_tokens` counts the tokens that the tokenizer knows; a student may
    have embeddings for more.
    """

    files: Mapping[str, bytes]
    decodes_plainly: bool
    num_tokens: int

    @classmethod
    def of(cls, tokenizer: Any, files: Mapping[str, bytes]) -> Spelling:
        """The spelling of a tokenizer that was saved as these files."""
        return cls(
            files,
            tokenizer.is_fast and not tokenizer.clean_up_tokenization_spaces,
            1 + max(tokenizer.get_vocab().values()),
        )

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files, and those saved with it, into the folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def texts(self, answers: list[list[int]]) -> list[str]:
        """The texts of the answers' tokens, special tokens and unknown ones left out."""
        if not self.decodes_plainly:
            # Tokenizers written in Python may fail on unknown tokens; the library skips them.
            answers = [[token for token in row if token < self.num_tokens] for row in answers]
        return self._decode_batch(answers, skip_special_tokens=True)

    @cached_property
    def _decode_batch(self) -> Callable[..., list[str]]:
        if self.decodes_plainly:
            from tokenizers import Tokenizer

            plain: Tokenizer = Tokenizer.from_buffer(self.files["tokenizer.json"])
            return plain.decode_batch
        from transformers import AutoTokenizer

        with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        decode: Callable[..., list[str]] = tokenizer.batch_decode
        return decode


def saved_tokenizer(tokenizer: Any) -> dict[str, bytes]:
    """The files that save_pretrained writes for a tokenizer: file name -> content."""
    with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        # A folder holds chat templates, which no study uses.
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in files}
