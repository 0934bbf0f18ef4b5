"""The files that hold a student's weights, and the shapes and types in their headers.

The files are chosen as transformers' from_pretrained chooses them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.students.package_files import (
    PackageError,
    matching_files,
    parse_json,
    read_package,
)

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PATTERN = "model*.safetensors"

Shape = tuple[int, ...]

_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


def weight_files(folder: Path) -> list[str]:
    """Return the names of the files that hold the student's weights, as from_pretrained finds them.

    Raises:
        PackageError: there are none, one is missing, or it is unclear which ones to read.
    """
    present = matching_files(folder, (PATTERN, INDEX))
    if WHOLE in present:
        return [WHOLE]
    if INDEX in present:
        return _indexed(folder, present)
    shards = [match for name in present if (match := _SHARD.fullmatch(name))]
    if not shards:
        raise PackageError(
            f"{folder} has no weights ({PATTERN}); save them with model.save_pretrained (older "
            "formats unpickle code and are not read)"
        )
    totals = sorted({match[2] for match in shards})
    if len(totals) > 1:
        raise PackageError(
            f"{folder} must hold one set of shards, got sets of {' and of '.join(totals)} without "
            f"{INDEX}; remove the older set"
        )
    names = [f"model-{number:05}-of-{totals[0]}.safetensors" for number in _up_to(int(totals[0]))]
    _require_present(folder, names, present)
    return names


def _up_to(total: int) -> range:
    return range(1, total + 1)


def _indexed(folder: Path, present: Iterable[str]) -> list[str]:
    """Return the shards that the index names."""
    index = parse_json(INDEX, read_package(folder, [INDEX]).contents[INDEX])
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise PackageError(f"{INDEX} must have a weight_map of file names; save the student again")
    for name in listed.values():
        # The index is not trusted: it may name only files beside it.
        plain = isinstance(name, str) and not re.search(r"[/\\\0*?\[\]]", name)
        if not plain or not name.endswith(".safetensors"):
            raise PackageError(
                f"{INDEX} must name safetensors files beside it, got {name!r:.80}; save the "
                "student again"
            )
    names = sorted(set(listed.values()))
    _require_present(folder, names, {*present, *matching_files(folder, names)})
    return names


def _require_present(folder: Path, names: Iterable[str], present: Iterable[str]) -> None:
    known = set(present)
    for name in names:
        if name not in known:
            raise PackageError(f"{folder} has no {name}, which is one of its shards; copy it again")


def num_parameters(folder: Path) -> int:
    """Return how many numbers a folder's weights have, from the headers of the files alone."""
    headers = read_headers(folder, weight_files(folder))
    return sum(num_elements(shape) for _, shape in headers.values())


def read_headers(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, Shape]]:
    """Return the type and shape of each tensor, without reading the tensor.

    Raises:
        PackageError: a header does not match its file (a truncated copy), or two files hold tensors
            of the same name.
    """
    found: dict[str, tuple[str, Shape]] = {}
    for name in names:
        path = folder / name
        try:
            with safe_open(path, framework="np") as file:
                slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
                own = {key: (s.get_dtype(), tuple(s.get_shape())) for key, s in slices.items()}
        except (SafetensorError, OSError) as error:
            if says_nothing_of_content(error):
                raise
            raise PackageError(
                f"{path} must be whole safetensors, got {error}; copy it again"
            ) from error
        _require_new(name, own, found)
        found |= own
    return found


def _require_new(file: str, names: Iterable[str], known: Mapping[str, object]) -> None:
    for name in names:
        if name in known:
            raise PackageError(f"{file} must hold other weights than the shards before, got {name}")


def require_memory(num_numbers: int) -> None:
    """Raise PackageError if so many float32 weights do not fit into the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * num_numbers > memory:
        raise PackageError(
            f"must fit into this machine's memory, {memory / 2**30:.1f} GiB, got "
            f"{4 * num_numbers / 2**30:.1f} GiB of weights; use a smaller student"
        )


def num_elements(shape: Shape) -> int:
    """Return how many numbers a tensor of this shape has."""
    return int(np.prod(shape, dtype=object)) if shape else 1
