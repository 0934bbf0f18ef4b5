"""The interface of a student's torch module, which a trial trains and generates answers with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn

from tune_distill.spec.profile import Decode, Precision
from tune_distill.students.tokens import Ints, Pairs

Spell = Callable[[list[list[int]]], list[str]]
"""Turns the tokens of answers into their texts, without special tokens."""


class Model(nn.Module, ABC):
    """A student's module. Its weights are float32; it computes in `precision`.

    Shape suffixes: M labels (the tokens of all targets in a batch), V vocabulary.
    """

    precision: Precision = "fp32"

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.parameters()).device

    @abstractmethod
    def label_logits(self, pairs: Pairs, indices: Sequence[int]) -> torch.Tensor:
        """Return the logits at each label of the chosen pairs, float32 (M, V).

        The labels are the targets' tokens, target after target in the order of `indices`. The
        logits at a label depend on the source and on the labels before it.
        """

    @abstractmethod
    def generate(self, spell: Spell, sources: Sequence[Ints], decode: Decode) -> list[list[str]]:
        """Return the answers: `texts[i][k]` is sample k of the answer to source i.

        The same call gives the same texts, and a source's texts do not depend on the others.
        Sampled answers use `sampling.uniforms`, each source's own random numbers.
        """


def samples_per_example(decode: Decode) -> int:
    """Return the number of texts that each example gets."""
    return decode.num_samples if decode.strategy == "sample" else 1
