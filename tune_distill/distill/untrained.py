"""A student before its training, as workers get it: read once, in the driver.

It travels through Ray's object store, whose arrays the workers of a node share. They never import
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

from tune_distill.distill.architecture import Architecture
from tune_distill.distill.students import load_tokenizer, load_weights
from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Student

if TYPE_CHECKING:
    import torch
    from transformers import T5Config

    from tune_distill.distill.t5 import T5

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Untrained:
    """A student's architecture and weights, by HF's names, and what save_pretrained writes beside
    its weights: file name -> content."""

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    files: dict[str, bytes]
    decodes_plainly: bool
    """Whether the tokenizer's own library decodes as transformers does."""

    def model(self) -> T5:
        """A student to train, in float32 on the CPU."""
        import torch

        from tune_distill.distill.t5 import T5

        # Copies: those in the object store are everybody's.
        return T5.of(
            self.architecture, {name: torch.tensor(value) for name, value in self.weights.items()}
        )

    def save(self, folder: Path, model: T5) -> None:
        """`folder` holds the trained student as save_pretrained makes it."""
        from safetensors.torch import save_file

        from tune_distill.distill.checkpoints import plain_os_errors

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
        from tune_distill.distill.t5 import T5

        try:
            return T5.of(self.architecture, _read(folder / WEIGHTS_FILE))
        except Exception as error:  # damaged files raise whatever their parser raises
            if says_nothing_of_content(error):
                raise
            raise StudentError(
                f"{folder}: must hold a trained student, got {type(error).__name__}: {error}"
            ) from error

    def texts(self, answers: list[list[int]]) -> list[str]:
        """What the answers' tokens spell, special ones left out."""
        return self._decode_batch(answers, skip_special_tokens=True)

    @cached_property
    def _decode_batch(self) -> Callable[..., list[str]]:
        if self.decodes_plainly:
            from tokenizers import Tokenizer

            plain: Tokenizer = Tokenizer.from_buffer(self.files["tokenizer.json"])
            return plain.decode_batch
        from transformers import AutoTokenizer

        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        decode: Callable[..., list[str]] = tokenizer.batch_decode
        return decode


def untrained(student: Student) -> Untrained:
    """The student, read from its files.

    Raises:
        StudentError: a file is damaged or lacks weights, or it is no T5 that we compute.
    """
    tokenizer = load_tokenizer(student)
    config, weights = load_weights(student)
    architecture = Architecture.of(config, tied_head="lm_head.weight" not in weights)
    return Untrained(
        architecture,
        {
            name: value.numpy()
            for name, value in _complete(architecture, weights, student.source).items()
        },
        _files(config, tokenizer),
        tokenizer.is_fast and not tokenizer.clean_up_tokenization_spaces,
    )


def _complete(
    architecture: Architecture, weights: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Those weights that a T5 of this architecture has."""
    from tune_distill.distill.t5 import T5

    shapes = T5(architecture).shapes()
    if missing := sorted(shapes.keys() - weights.keys()):
        raise StudentError(
            f"student.source: {source} must hold every weight of a T5, got none for "
            f"{missing[0]} and {len(missing) - 1} more; save it from T5ForConditionalGeneration"
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise StudentError(
                f"student.source: {source} must load as a T5, got {tuple(weights[name].shape)} "
                f"for {name}, which config.json makes {tuple(shape)}"
            )
    return {name: weights[name] for name in shapes}


def load_student(student: Student) -> T5:
    """The student, in float32 on the CPU; see `untrained`."""
    return untrained(student).model()


def _files(config: T5Config, tokenizer: Any) -> dict[str, bytes]:
    config.architectures = ["T5ForConditionalGeneration"]
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
