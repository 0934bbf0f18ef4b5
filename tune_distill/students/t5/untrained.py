"""A T5 before its training, as workers get it.

Workers get it from Ray's object store, whose arrays the workers of a node share. They need neither
the student's folder nor a hub, and seldom import transformers, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tune_distill.records.refusals import plain_os_errors
from tune_distill.students.folder import trained_student_errors
from tune_distill.students.model import Model
from tune_distill.students.spelling import Spelling
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.model import T5
from tune_distill.students.weight_files import WHOLE


@dataclass(frozen=True)
class UntrainedT5:
    """A T5's architecture and weights, by HF's names, and the files beside its weights."""

    architecture: Architecture
    weights: dict[str, NDArray[np.float32]]
    spelling: Spelling

    @property
    def num_positions(self) -> None:
        """None: a T5 uses distances, so any number of positions will do."""

    def model(self) -> T5:
        """Return a T5 to train, in float32 on the CPU."""
        # Copy the weights, because workers share those in the object store.
        return T5.of(
            self.architecture, {name: torch.tensor(value) for name, value in self.weights.items()}
        )

    def save(self, folder: Path, model: Model) -> None:
        """Write the trained student into `folder` as save_pretrained would."""
        tensors = {name: value.detach().contiguous() for name, value in model.named_parameters()}
        with plain_os_errors():
            save_file(tensors, folder / WHOLE, {"format": "pt"})
        self.spelling.save(folder)

    def load(self, folder: Path) -> T5:
        """Return the trained student that `save` wrote.

        Raises:
            StudentError: its weights are missing or damaged.
        """
        with trained_student_errors(folder):
            return T5.of(self.architecture, load_file(folder / WHOLE))

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens, without special tokens."""
        return self.spelling.texts(answers)
