"""A training's whole state in one safetensors file: weights, optimizer, random state, position.

It is one file, so that a rename makes it appear whole. It is safetensors, so that reading one from
a shared place runs no code. Its metadata has a sealed record: the run that it belongs to, and the
digest of all tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tune_distill.records.digests import DamagedError
from tune_distill.records.refusals import plain_os_errors, says_nothing_of_content
from tune_distill.records.runs import HistoryRow
from tune_distill.records.sealed import seal, unseal
from tune_distill.spec.keys import key_of

_RECORD = "record"
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class DamagedCheckpointError(DamagedError):
    """The file is not a checkpoint of this run."""


@dataclass(frozen=True)
class Position:
    """A training's progress; `validation_digest` is of the examples that it was evaluated on."""

    __pydantic_config__ = _STRICT

    step: int
    elapsed_s: float
    history: tuple[HistoryRow, ...]
    validation_digest: str = ""


@dataclass(frozen=True)
class _State:
    """The record of a checkpoint; `tensors` is the digest of its tensors."""

    __pydantic_config__ = _STRICT

    position: Position
    num_threads: int
    tensors: str


def save_checkpoint(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    run_key: str,
) -> None:
    """Write everything from which a training can resume and end with identical weights."""
    # Tied weights are one parameter under one name here; safetensors refuses to store them twice.
    tensors = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
    # Sums depend on the number of threads, so a training keeps the number that it began with.
    state = _State(position, torch.get_num_threads(), _digest(tensors))
    record = seal("checkpoint", {"run": run_key}, asdict(state))
    with plain_os_errors():
        save_file(tensors, path, {_RECORD: record.decode()})


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 (hex) of the names, types, shapes and bytes of tensors on the CPU.

    Each tensor is hashed separately, on as many threads as the training has.
    """
    names = sorted(tensors)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        hashed = list(pool.map(_tensor_digest, (tensors[name] for name in names)))
    return key_of({"tensors": list(zip(names, hashed, strict=True))})


def _tensor_digest(value: torch.Tensor) -> list[Any]:
    # Flatten first, because a scalar cannot be viewed as bytes.
    content = value.reshape(-1).view(torch.uint8).numpy().data
    return [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]


def load_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, run_key: str
) -> Position:
    """Restore model, optimizer, random state and threads as they were when `path` was saved.

    Raises:
        DamagedCheckpointError: the file is not what was saved, or belongs to another run.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            record = file.metadata()[_RECORD].encode()
        state = unseal(record, "checkpoint", {"run": run_key}, _State).content
        if _digest(tensors) != state.tensors:
            raise DamagedError("its tensors are not those that were saved")
        _restore(model, optimizer, tensors)
    except (
        DamagedError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        if says_nothing_of_content(error):
            raise
        raise DamagedCheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    torch.set_num_threads(state.num_threads)
    return state.position


def _restore(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, torch.Tensor],
) -> None:
    parameters = {f"model.{name}": value for name, value in model.named_parameters()}
    shapes = {name: value.shape for name, value in tensors.items() if name.startswith("model.")}
    # copy_ alone would broadcast one column over many, and ignore superfluous layers.
    if shapes != {name: value.shape for name, value in parameters.items()}:
        raise ValueError("its weights are those of another model")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
    states: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, field = name.split(".")
            states.setdefault(int(index), {})[field] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
