"""A student before its training, as workers get it: read once, in the driver.

It travels through Ray's object store, whose arrays the workers of a node share. They seldom import
transformers, which takes each of them seconds, and need neither the student's folder nor a hub.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune_distill.records.refusals import plain_os_errors, says_nothing_of_content
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Student
from tune_distill.students.package import StudentPackage
from tune_distill.students.registry import read_student
from tune_distill.students.t5.architecture import Architecture

if TYPE_CHECKING:
    import torch

    from tune_distill.students.t5.model import T5

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Untrained:
    """A student's architecture and weights, by HF's names, and what save_pretrained writes beside
    its weights: file name -> content."""

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    files: Mapping[str, bytes]
    decodes_plainly: bool
    """Whether the tokenizer's own library decodes as transformers does."""
    num_tokens: int
    """Tokens that the tokenizer knows; the embeddings may have more rows."""

    @classmethod
    def of(cls, package: StudentPackage) -> Untrained:
        """The student of a package that was checked."""
        tokenizer = package.tokenizer
        return cls(
            package.architecture,
            package.weights,
            package.files,
            tokenizer.is_fast and not tokenizer.clean_up_tokenization_spaces,
            1 + max(tokenizer.get_vocab().values()),
        )

    def model(self) -> T5:
        """A student to train, in float32 on the CPU."""
        import torch

        from tune_distill.students.t5.model import T5

        # Copies: those in the object store are everybody's.
        return T5.of(
            self.architecture, {name: torch.tensor(value) for name, value in self.weights.items()}
        )

    def save(self, folder: Path, model: T5) -> None:
        """Write the trained student into `folder` as save_pretrained would."""
        from safetensors.torch import save_file

        tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
        with plain_os_errors():
            save_file(tensors, folder / WEIGHTS_FILE, {"format": "pt"})
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def load(self, folder: Path) -> T5:
        """The trained student that `save` wrote.

        Raises:
            StudentError: its weights are missing or damaged.
        """
        from tune_distill.students.t5.model import T5

        try:
            return T5.of(self.architecture, _read(folder / WEIGHTS_FILE))
        except Exception as error:  # damaged files raise whatever their parser raises
            if says_nothing_of_content(error):
                raise
            raise StudentError(
                f"{folder}: must hold a trained student, got {type(error).__name__}: {error}"
            ) from error

    def texts(self, answers: list[list[int]]) -> list[str]:
        """The texts of the answers' tokens, without special tokens.

        Rows of the embeddings that the tokenizer does not know spell nothing.
        """
        if not self.decodes_plainly:
            # Tokenizers written in Python may fail on such tokens; the library's skip them.
            answers = [[token for token in row if token < self.num_tokens] for row in answers]
        return self._decode_batch(answers, skip_special_tokens=True)

    @cached_property
    def _decode_batch(self) -> Callable[..., list[str]]:
        if self.decodes_plainly:
            from tokenizers import Tokenizer

            plain: Tokenizer = Tokenizer.from_buffer(self.files["tokenizer.json"])
            return plain.decode_batch
        from transformers import AutoTokenizer

        from tune_distill.students.quiet import quiet_transformers

        with quiet_transformers(), tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        decode: Callable[..., list[str]] = tokenizer.batch_decode
        return decode


def untrained(student: Student) -> Untrained:
    """The student, read from its files.

    Raises:
        StudentError: the student is not supported, or cannot be found.
    """
    return Untrained.of(read_student(student))


def load_student(student: Student) -> T5:
    """The student, in float32 on the CPU; see `untrained`."""
    return untrained(student).model()


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
