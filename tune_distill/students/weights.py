"""A student's weights: which files hold them, whether they fit the configuration, and their values.

Files are chosen as transformers' from_pretrained chooses them. Their headers are compared with the
configuration before any weight is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.students.config import parse_json
from tune_distill.students.package_files import PackageError, matching_files, read_package
from tune_distill.students.t5.architecture import Architecture

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PATTERN = "model*.safetensors"
HEAD = "lm_head.weight"

Shape = tuple[int, ...]
Arrays = dict[str, NDArray[np.float32]]

_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
# One table under several names, of which files hold one or more; transformers looks in this order.
_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# How safetensors calls what a student may be stored in, and numpy.
_STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold the student's weights, as from_pretrained would read them.

    Raises:
        PackageError: there are none, one is missing, or it is unclear which ones count.
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
    """The shards that the index names."""
    index = parse_json(INDEX, read_package(folder, [INDEX]).contents[INDEX])
    listed = index.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise PackageError(f"{INDEX} must have a weight_map of file names; save the student again")
    for name in listed.values():
        # The index is not trusted to name anything but a file beside it.
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
    """How many numbers the weights of a folder have, from the headers of the files alone."""
    headers = read_headers(folder, weight_files(folder))
    return sum(_count(shape) for _, shape in headers.values())


def read_headers(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, Shape]]:
    """The type and shape of each tensor, without reading it.

    Raises:
        PackageError: a header does not fit its file (a truncated copy), or two files have one name.
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


def require_fit(architecture: Architecture, headers: Mapping[str, tuple[str, Shape]]) -> None:
    """Raise PackageError unless the tensors are the weights of this architecture."""
    own = canonical_names(headers)
    if missing := [name for name, _ in architecture.shapes() if name not in own]:
        raise PackageError(
            f"must hold every weight of a T5, got none for {missing[0]} and {len(missing) - 1} "
            "more; save it from T5ForConditionalGeneration"
        )
    total = 0
    for name, shape in architecture.shapes():
        kind, got = headers[own[name]]
        if got != shape:
            raise PackageError(
                f"must load as a T5, got {got} for {name}, which config.json makes {shape}"
            )
        if kind not in _STORED:
            raise PackageError(
                f"must hold weights in float32, float16 or bfloat16, got {kind} for {name}; use "
                "the student from before it was quantised or converted"
            )
        total += _count(shape)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * total > memory:
        raise PackageError(
            f"must fit into this machine's memory, {memory / 2**30:.1f} GiB, got "
            f"{4 * total / 2**30:.1f} GiB of weights; use a smaller student"
        )


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Each weight's name in a T5 -> its name in the files.

    The embeddings may stand under any of their names, or under the head's alone.
    """
    known = {name: name for name in names}
    table = next((name for name in (*_EMBEDDINGS, HEAD) if name in known), None)
    return known if table is None else {_EMBEDDINGS[0]: table} | known


def read_weights(contents: Mapping[str, bytes], architecture: Architecture) -> Arrays:
    """The weights of a T5 in float32, those of all files together, by HF's names.

    What the files hold beside a T5's weights is left out. The head is left out where it is the
    embeddings once more: transformers ties them then, whatever the configuration says.

    Raises:
        PackageError: a weight is NaN or infinite, or the files are not those of the headers.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    headers: dict[str, tuple[str, Shape]] = {}
    wanted = {name for name, _ in architecture.shapes()} | {*_EMBEDDINGS, HEAD}
    for file, content in contents.items():
        for name, view in _deserialized(file, content):
            headers[name] = view["dtype"], tuple(view["shape"])
            if name in wanted:
                tensors[name] = _float32(name, view)
    require_fit(architecture, headers)
    own = canonical_names(tensors)
    table = tensors[own[_EMBEDDINGS[0]]]
    for name in _EMBEDDINGS:
        if name in tensors and not np.array_equal(tensors[name], table):
            raise PackageError(
                f"must have one table of embeddings, got another one in {name}; save it again"
            )
    weights = {name: tensors[own[name]] for name, _ in architecture.shapes()}
    if HEAD in weights and np.array_equal(weights[HEAD], table):
        del weights[HEAD]
    return weights


def _deserialized(file: str, content: bytes) -> Iterator[tuple[str, dict]]:  # type: ignore[type-arg]
    try:
        yield from deserialize(content)
    except SafetensorError as error:
        raise PackageError(
            f"{file} must be whole safetensors, got {error}; copy it again"
        ) from error


def _float32(name: str, view: Mapping[str, object]) -> NDArray[np.float32]:
    """The tensor's numbers; numbers beyond float32's range become infinite and are refused."""
    kind, data, shape = view["dtype"], view["data"], view["shape"]
    if kind not in _STORED:
        return np.empty(0, np.float32)  # its shape or its kind is refused afterwards
    raw = np.frombuffer(data, _STORED[str(kind)]).reshape(shape)  # type: ignore[call-overload]
    values: NDArray[np.float32]
    if kind == "BF16":
        # The upper half of a float32.
        values = (raw.astype("<u4") << 16).view("<f4")
    else:
        with np.errstate(over="ignore"):
            values = raw.astype("<f4", copy=False)
    if not np.isfinite(values).all():
        what = "NaN" if np.isnan(values).any() else "infinite numbers"
        raise PackageError(
            f"must hold finite weights, got {what} in {name}: the student was damaged before, "
            "perhaps by an overflow in float16; use another copy of it"
        )
    return values


def _count(shape: Shape) -> int:
    return int(np.prod(shape, dtype=object)) if shape else 1
