"""Checks that a T5's weights fit its configuration, and reads them.

The headers of the files are compared with the configuration before any weight is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from tune_distill.students.package_files import PackageError
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.weight_files import Shape, num_elements, require_memory

HEAD = "lm_head.weight"

Arrays = dict[str, NDArray[np.float32]]

# Names of the one table of embeddings in files, in the order in which transformers looks for it.
_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# The types in which a student may be stored: safetensors' name -> numpy's name.
_STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


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
        total += num_elements(shape)
    require_memory(total)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Return each weight's name in a T5 -> its name in the files.

    The files may have the embeddings under any of their names, or only under the head's.
    """
    known = {name: name for name in names}
    table = next((name for name in (*_EMBEDDINGS, HEAD) if name in known), None)
    return known if table is None else {_EMBEDDINGS[0]: table} | known


def read_weights(contents: Mapping[str, bytes], architecture: Architecture) -> Arrays:
    """Return the weights of a T5 from all files together, in float32, by HF's names.

    Other tensors in the files are left out. The head is left out if it equals the embeddings,
    because transformers then ties them, whatever the configuration says.

    Raises:
        PackageError: a weight is NaN or infinite, or the headers differ from those checked before.
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
    """Return the tensor's numbers; those beyond float32's range become infinite and are refused."""
    kind, data, shape = view["dtype"], view["data"], view["shape"]
    if kind not in _STORED:
        return np.empty(0, np.float32)  # require_fit refuses its shape or its kind afterwards
    raw = np.frombuffer(data, _STORED[str(kind)]).reshape(shape)  # type: ignore[call-overload]
    values: NDArray[np.float32]
    if kind == "BF16":
        # A bfloat16 is the upper half of a float32.
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
