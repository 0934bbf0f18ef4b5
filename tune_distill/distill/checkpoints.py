"""A training's whole state is one safetensors file: weights, optimizer, random state, position.

One file, so that a rename makes it appear whole; safetensors, so that reading one from a shared
place runs no code.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.records.runs import HistoryRow


class DamagedCheckpointError(Exception):
    """The file is not a checkpoint of this training."""


@dataclass(frozen=True)
class Position:
    """How far a training has come, and on which examples `history`'s evaluations were made."""

    step: int
    elapsed_s: float
    history: tuple[HistoryRow, ...]
    validation_digest: str = ""


def save_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, position: Position
) -> None:
    """`path` holds everything that `load_checkpoint` needs to go on to identical weights."""
    # Tied weights are one parameter under one name here; safetensors refuses to store them twice.
    tensors = {f"model.{name}": value.detach() for name, value in model.named_parameters()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    # Sums depend on how many threads share them: a training ends on as many as it began.
    metadata = {
        "position": json.dumps(asdict(position)),
        "num_threads": str(torch.get_num_threads()),
    }
    with plain_os_errors():
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)


@contextmanager
def plain_os_errors() -> Iterator[None]:
    """Turns safetensors' errors of writing into the OSErrors that they hide.

    The store explains those to the user: a full disk, a read-only folder.
    """
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number)) from error


def load_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Position:
    """Model, optimizer, random state and threads are as they were when `path` was saved.

    Raises:
        DamagedCheckpointError: the file is cut, or its tensors are not those of the model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        position = _position(metadata["position"])
        num_threads = int(metadata["num_threads"])
        _restore(model, optimizer, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if says_nothing_of_content(error):
            raise
        raise DamagedCheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    torch.set_num_threads(num_threads)
    return position


def _position(text: str) -> Position:
    raw = json.loads(text)
    history = tuple(HistoryRow(**row) for row in raw["history"])
    return Position(raw["step"], raw["elapsed_s"], history, raw["validation_digest"])


def _restore(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, torch.Tensor],
) -> None:
    parameters = {f"model.{name}": value for name, value in model.named_parameters()}
    shapes = {name: value.shape for name, value in tensors.items() if name.startswith("model.")}
    # copy_ alone would stretch one column over many, and pass over a layer too many.
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
