"""BERTScore's encoder, which is read once, identified by its content and sent to the workers.

The driver reads the files. Workers load the bytes that were digested, so they need neither the
folder nor the hub, and a later change of the folder changes no score.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from numpy.typing import NDArray

from tune_distill.spec.errors import MetricError
from tune_distill.students.package_files import PackageError, read_package
from tune_distill.tasks.hub import cache_if_unreachable

ENCODER_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "bpe.codes",
    "*.model",
)
"""The files of an encoder's folder that are loaded, and that identify the encoder."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder's files. `source` is the folder or hub id that a profile names it by.

    `contents` are arrays of bytes, which the workers of a node share in Ray's object store.
    """

    source: str
    digest: str
    contents: Mapping[str, NDArray[np.uint8]]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a temporary folder with these files."""
        with tempfile.TemporaryDirectory(prefix="tune-distill-") as folder:
            for name, content in self.contents.items():
                content.tofile(Path(folder) / name)
            yield Path(folder)


def read_encoder(source: str) -> Encoder:
    """Return the encoder in a folder or on the hub.

    Raises:
        MetricError: there is no encoder, or one of its files cannot be read.
    """
    # Path.expanduser raises for a user who does not exist, so os.path.expanduser is used.
    folder = Path(os.path.expanduser(source))
    if not folder.is_dir():
        if source.startswith((".", "/", "~")) or folder.exists():
            raise unusable(source, "no such folder")
        folder = _downloaded(source)
    try:
        files = read_package(folder, ENCODER_FILES)
    except PackageError as error:
        raise unusable(source, str(error)) from error
    if not any(name.endswith(".safetensors") for name in files.contents):
        raise unusable(source, "no model*.safetensors in its folder")
    contents = {name: np.frombuffer(data, np.uint8) for name, data in files.contents.items()}
    return Encoder(source, files.digest, contents)


def unusable(source: str, reason: str) -> MetricError:
    """Return the error for an encoder that cannot be used."""
    return MetricError(
        "metrics.bertscore_model: must be the directory or hub id of an encoder such as BERT, "
        f"got {source!r} ({reason}); name another model, or leave the metric out"
    )


def _downloaded(source: str) -> Path:
    """Return the folder in the hub's cache, after a download if a file is missing there."""
    try:
        with cache_if_unreachable(source, "model", None):
            return Path(snapshot_download(source, allow_patterns=list(ENCODER_FILES)))
    except Exception as error:  # the hub client raises many kinds, its own and those of sockets
        reason = " ".join(str(error).split())[:300]
        raise unusable(source, f"{type(error).__name__}: {reason}") from error
