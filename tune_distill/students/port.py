"""The student port: the protocols that each kind of student implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tune_distill.students.tokens import TokenTable

if TYPE_CHECKING:
    from tune_distill.students.model import Model


class Untrained(Protocol):
    """A student before its training. It is sent to the workers, which need none of its files."""

    @property
    def num_positions(self) -> int | None:
        """Return the tokens that a source or target may have; None if there is no limit."""
        ...

    def model(self) -> Model:
        """Return a model to train, on the CPU; each call returns a new one."""
        ...

    def save(self, folder: Path, model: Model) -> None:
        """Write the trained student into a folder, for `load` and for `from_pretrained`."""
        ...

    def load(self, folder: Path) -> Model:
        """Return the trained student that `save` wrote.

        Raises:
            StudentError: its weights are missing or damaged.
        """
        ...

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens, without special tokens."""
        ...


class ReadStudent(Protocol):
    """A student that was read and checked once: the content identified is the content trained."""

    @property
    def identity(self) -> Mapping[str, str]:
        """The student's identity, by content; it is part of the run keys."""
        ...

    def encode(self, texts: Sequence[str]) -> TokenTable:
        """Return the tokens of the texts, not truncated, each text with its end token.

        Raises:
            StudentError: the tokenizer fails on one of them.
        """
        ...

    def untrained(self) -> Untrained:
        """Return the untrained student, which is sent to the workers."""
        ...


class StudentKind(Protocol):
    """Reads students of one kind."""

    def read(self, folder: Path) -> ReadStudent:
        """Read and check the student in a folder.

        Raises:
            StudentError: the student is not of this kind, its files contradict each other or are
                damaged, or the folder changed while it was read.
        """
        ...

    def built_in(self, hf: Any, tokenizer: Any) -> ReadStudent:
        """Return the embedded student, given as a model of transformers and its tokenizer."""
        ...
