"""Examples in sampling order: every pool and every fraction is a prefix of one sequence.

The order depends on the texts and not on their positions in a file, so CSV and Parquet give the
same examples. Labels take turns, so every prefix is balanced until a label runs out. The first 10 %
are part of the first 50 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tune_distill.records.examples import Example
from tune_distill.spec.errors import DataError
from tune_distill.spec.keys import DataIdentity, TaskIdentity
from tune_distill.spec.profile import Data
from tune_distill.tasks.sources import RawCorpus
from tune_distill.tasks.task import Task

_ORDER_SEED = b"tune_distill sampling order 0:"


def sampling_order(examples: Sequence[Example], labels: Sequence[str]) -> list[Example]:
    """Return the examples, shuffled by their content; labels, if there are any, take turns."""
    by_label: dict[str, list[tuple[bytes, int]]] = {label: [] for label in labels or [""]}
    for index, example in enumerate(examples):
        rank = hashlib.sha256(_ORDER_SEED + example.digest()).digest()
        by_label[example.label if labels else ""].append((rank, index))
    turns = [
        (turn, label, index)
        for label, ranked in enumerate(by_label.values())
        for turn, (_, index) in enumerate(sorted(ranked))
    ]
    return [examples[index] for _, _, index in sorted(turns)]


@dataclass(frozen=True)
class Corpus:
    """One data source in sampling order.

    `train_digests` and `validation_digests` are the 32-byte digests of the examples, joined; their
    first 32 n bytes identify the prefix of n examples.
    """

    source: str
    task: TaskIdentity
    train: list[Example]
    validation: list[Example]
    train_digests: bytes
    validation_digests: bytes

    @classmethod
    def from_raw(cls, source: str, raw: RawCorpus, task: Task) -> Corpus:
        """Return the corpus of the examples that were read for the task."""
        labels = task.description.labels or ()
        train = sampling_order(raw.train, labels)
        validation = sampling_order(raw.validation, labels)
        return cls(
            source,
            task.identity(),
            train,
            validation,
            b"".join(example.digest() for example in train),
            b"".join(example.digest() for example in validation),
        )

    def num_pool(self, data: Data) -> int:
        """Return the size of the training pool.

        Raises:
            DataError: the source has fewer examples than `data.num_train`.
        """
        return self._size("train", data.num_train, len(self.train_digests) // 32)

    def num_train(self, data: Data) -> int:
        """Return the number of training examples after the fraction is taken, at least one."""
        return max(1, round(self.num_pool(data) * data.train_fraction))

    def num_validation(self, data: Data) -> int:
        """Return the number of validation examples.

        Raises:
            DataError: the source has fewer examples than `data.num_validation`.
        """
        return self._size("validation", data.num_validation, len(self.validation_digests) // 32)

    def identity(self, data: Data) -> DataIdentity:
        """Return the identity of the data that a trial with this data section sees."""
        num_train, num_validation = self.num_train(data), self.num_validation(data)
        return DataIdentity(
            train_digest=_prefix_digest(self.train_digests, num_train),
            num_train=num_train,
            validation_digest=_prefix_digest(self.validation_digests, num_validation),
            num_validation=num_validation,
            pool_digest=_prefix_digest(self.train_digests, self.num_pool(data)),
            task=self.task,
        )

    def _size(self, split: str, wanted: int | None, available: int) -> int:
        if wanted is None:
            return available
        if wanted > available:
            raise DataError(
                f"data.num_{split}: {self.source} has {available} {split} examples, got {wanted}; "
                f"lower it with --set data.num_{split}={available}"
            )
        return wanted


def _prefix_digest(digests: bytes, count: int) -> str:
    return hashlib.sha256(digests[: 32 * count]).hexdigest()
