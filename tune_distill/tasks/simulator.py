"""The simulatability model: it predicts a label from an explanation alone.

Source: Hase et al. 2020, "Leakage-Adjusted Simulatability", and the explanation-to-label model of
Camburu et al. 2018, e-SNLI. Deviation: a bag of n-grams replaces the encoder. Such a model is
fitted in a tenth of a second on any machine, and its weights can be read.

Its accuracy on gold validation explanations is the ceiling of faithfulness. On real e-SNLI, as the
mean over ten samples of training examples, it is 0.885 if fitted on the first explanation of 500
examples and 0.922 on that of 2,000; on all three explanations 0.908 and 0.932 (e-SNLI's own
training split has one). Without pairs of words, or without words of one letter, it loses 0.01 to
0.02; trigrams, n-grams of a single explanation, and counts instead of presence gain nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tune_distill.records.digests import DamagedError
from tune_distill.records.sealed import seal, unseal
from tune_distill.spec.keys import SIMULATOR_VERSION
from tune_distill.tasks.words import words

_METADATA_KEY = "simulator"

FITTED = "fitted"
"""The name of a simulator in the output of the process that fitted it."""


def ngrams(text: str) -> list[str]:
    """Return the words of `text`, then its pairs of adjacent words, joined by a space."""
    # An underscore is part of a word, as in scikit-learn.
    unigrams = words(text, also="_")
    return unigrams + [f"{left} {right}" for left, right in pairwise(unigrams)]


@dataclass(frozen=True)
class _Description:
    """The record in a simulator's file; `sha256` is the simulator's digest."""

    __pydantic_config__ = ConfigDict(strict=True)

    version: int
    labels: tuple[str, ...]
    vocabulary: list[str]
    sha256: str


@dataclass(frozen=True, eq=False, slots=True)
class Simulator:
    """A fitted logistic regression over the presence of n-grams in an explanation.

    Shapes: L labels, V n-grams.
    """

    labels: tuple[str, ...]
    vocabulary: dict[str, int]
    """n-gram -> its row in `weights_VL`; counted from 0 in the order of the dictionary."""
    weights_VL: NDArray[np.float64]
    intercept_L: NDArray[np.float64]

    @property
    def is_blind(self) -> bool:
        """Whether it knows no word, so that its guesses do not depend on the text."""
        return not self.vocabulary

    def predict(self, explanations: Sequence[str]) -> list[str]:
        """Return the likeliest label of each explanation; the prior's if no n-gram is known."""
        return [self.labels[int(self._logits(text).argmax())] for text in explanations]

    def accuracy(self, explanations: Sequence[str], labels: Sequence[str]) -> float:
        """Return the share in [0, 1] of one or more explanations whose guessed label is right."""
        guesses = self.predict(explanations)
        hits = [guess == label for guess, label in zip(guesses, labels, strict=True)]
        return sum(hits) / len(hits)

    def to_bytes(self, name: str) -> bytes:
        """Return a safetensors file, the same bytes for the same simulator; see `from_bytes`.

        `name` says which examples it was fitted on.
        """
        description = {
            "version": SIMULATOR_VERSION,
            "labels": self.labels,
            "vocabulary": list(self.vocabulary),
            "sha256": self._digest(),
        }
        record = seal("simulator", {"simulator": name}, description)
        # Use one entry, because safetensors promises no order of several.
        metadata = {_METADATA_KEY: record.decode()}
        return save({"intercept": self.intercept_L, "weights": self.weights_VL}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Simulator:
        """Return the simulator that `to_bytes` wrote under this name.

        Raises:
            DamagedError: the bytes are damaged, of another version or of another simulator.
        """
        try:
            tensors, description = load(data), _description(data, name)
            vocabulary = {ngram: row for row, ngram in enumerate(description.vocabulary)}
            simulator = cls(
                description.labels, vocabulary, tensors["weights"], tensors["intercept"]
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                "simulator: must be a file that to_bytes wrote, "
                f"got {len(data)} bytes that cannot be read ({error!r})"[:300]
            ) from error
        if description.version != SIMULATOR_VERSION:
            raise DamagedError(
                f"simulator: version must be {SIMULATOR_VERSION}, got {description.version}"
            )
        if description.sha256 != simulator._digest():
            raise DamagedError("simulator: its content must have the digest that it names")
        return simulator

    def _logits(self, text: str) -> NDArray[np.float64]:
        """Return the logits, shape (L,)."""
        # Sort, so that the sum has one order, and a near tie one winner, in every process.
        rows = sorted({self.vocabulary[gram] for gram in ngrams(text) if gram in self.vocabulary})
        logits: NDArray[np.float64] = self.weights_VL[rows].sum(axis=0) + self.intercept_L
        return logits

    def _digest(self) -> str:
        """Return the SHA-256 (hex) of all that predictions depend on; shapes separate the parts."""
        arrays = [(array.dtype.str, array.shape) for array in (self.weights_VL, self.intercept_L)]
        text = json.dumps([self.labels, list(self.vocabulary), arrays])
        content = text.encode() + self.weights_VL.tobytes() + self.intercept_L.tobytes()
        return hashlib.sha256(content).hexdigest()


def fit_simulator_apart(explanations: Sequence[str], labels: Sequence[str]) -> Simulator:
    """Fit the same simulator as `fit_simulator`, in a process of its own.

    threadpoolctl, which limits the threads, iterates over the loaded libraries. In this process it
    and a thread that imports another library at that moment would deadlock.

    Raises:
        ValueError: there are fewer than two labels.
    """
    require_labels(labels)
    fitted = subprocess.run(
        [sys.executable, "-m", "tune_distill.tasks.simulator_fit"],
        input=json.dumps([list(explanations), list(labels)]).encode(),
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        # Ctrl-C must reach only the command, which ends in its own way.
        start_new_session=True,
    )
    return Simulator.from_bytes(fitted.stdout, FITTED)


def require_labels(labels: Sequence[str]) -> None:
    """Raise ValueError unless there are two different labels."""
    if len(set(labels)) < 2:
        raise ValueError(
            f"simulator: needs explanations of two labels or more, got {sorted(set(labels))}; "
            "train on examples of several labels"
        )


def _description(data: bytes, name: str) -> _Description:
    """Return the record in the header; the first 8 bytes are the header's length."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = header["__metadata__"][_METADATA_KEY].encode()
    return unseal(record, "simulator", {"simulator": name}, _Description).content
