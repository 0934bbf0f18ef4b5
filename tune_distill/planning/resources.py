"""The resources of a trial: CPUs and GPUs (so that trials fill the machine), memory, attempts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_distill.spec.errors import ClusterError

Nodes = Sequence[Mapping[str, float]]
"""The resources of each node that trials may run on, by Ray's names."""

SMALL_STUDENT = 10_000_000
"""The number of parameters below which a second thread does not speed training up."""


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that the user asked for; None means that we choose."""

    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    memory_per_trial: int | None = None


@dataclass(frozen=True)
class Limits:
    """Limits of a trial: retries in a row without a new checkpoint, and seconds per attempt."""

    max_retries: int = 3
    time_limit_s: float | None = None


@dataclass(frozen=True)
class TrialResources:
    """The resources of each trial, and how many trials run at once.

    `memory` is in bytes; 0 reserves none.
    """

    cpus: float
    gpus: float
    max_concurrent: int
    memory: int = 0

    @property
    def num_threads(self) -> int:
        """Return the number of torch's threads in a trial."""
        return max(1, int(self.cpus))

    def fits(self, nodes: Nodes) -> bool:
        """Return whether a node is large enough for a trial."""
        return any(_slots(node, self.cpus, self.gpus, self.memory) for node in nodes)

    def text(self) -> str:
        """Return a text such as `2 at once, each with 1 CPU, 0.5 GPUs and 4 GiB of memory`."""
        amounts = {"CPU": self.cpus, "GPU": self.gpus}
        if self.memory:
            amounts["memory"] = self.memory
        return f"{self.max_concurrent} at once, each with {_amounts(amounts)}"


def fit(
    nodes: Nodes,
    num_runs: int,
    num_parameters: float,
    request: ResourceRequest,
) -> TrialResources:
    """Return the resources of each trial of a study with `num_runs` runs of a student.

    CPUs are shared evenly among all runs of the study, not only those left to do, so that a resumed
    study uses as many threads as before. A small student gets one CPU, because its operations are
    too short to parallelise. A trial gets a GPU if a node has one.

    Raises:
        ClusterError: no node can ever hold one trial.
    """
    gpus, memory = request.gpus_per_trial, request.memory_per_trial or 0
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    cpus = request.cpus_per_trial
    if cpus is None and num_parameters < SMALL_STUDENT:
        cpus = 1.0
    elif cpus is None:
        cpus = _even_share(nodes, num_runs, gpus, memory, request.max_concurrent)
    slots = sum(_slots(node, cpus, gpus, memory) for node in nodes)
    if slots == 0:
        raise ClusterError(_never_fits(nodes, cpus, gpus, memory))
    return TrialResources(cpus, gpus, min(slots, request.max_concurrent or slots), memory)


def memory_text(num_bytes: float) -> str:
    """Return a text such as `4 GiB`, `1.5 MiB` or `300 bytes`."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= size:
            return f"{round(num_bytes / size, 2):g} {unit}"
    return f"{num_bytes:.0f} bytes"


def _even_share(
    nodes: Nodes,
    num_runs: int,
    gpus: float,
    memory: int,
    limit: int | None,
) -> float:
    """Return the largest number of CPUs with which as many trials run at once as with one each."""
    most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    at_once = min(num_runs, sum(_slots(node, 1, gpus, memory) for node in nodes), limit or num_runs)
    for cpus in range(most, 1, -1):
        if sum(_slots(node, cpus, gpus, memory) for node in nodes) >= at_once:
            return float(cpus)
    return 1.0


def _slots(node: Mapping[str, float], cpus: float, gpus: float, memory: int) -> int:
    limits = [node.get("CPU", 0) / cpus if cpus else math.inf]
    if gpus:
        # Ray gives a trial a share of one GPU or whole GPUs, but never shares of two.
        available = int(node.get("GPU", 0))
        limits.append(available * int(1 / gpus) if gpus < 1 else available // gpus)
    if memory:
        limits.append(node.get("memory", 0) / memory)
    return int(min(limits))


def _never_fits(nodes: Nodes, cpus: float, gpus: float, memory: int) -> str:
    flags = "--cpus-per-trial, --gpus-per-trial"
    asked = {"CPU": cpus, "GPU": gpus}
    if memory:
        flags += ", --memory-per-trial"
        asked["memory"] = memory
    kinds = sorted({_amounts({kind: node.get(kind, 0) for kind in asked}) for node in nodes})
    return (
        f"{flags}: a trial must fit on one node, got {_amounts(asked)} where the cluster has "
        f"{_nodes_text(kinds)}; ask for less, or join more nodes"
    )


def _nodes_text(kinds: Sequence[str], at_most: int = 4) -> str:
    if not kinds:
        return "no node"
    more = f", and {len(kinds) - at_most} more kinds" if len(kinds) > at_most else ""
    return f"nodes with {'; with '.join(kinds[:at_most])}{more}"


def _amounts(amounts: Mapping[str, float]) -> str:
    """Return a text such as `1 CPU, 0.5 GPUs and 4 GiB of memory`."""
    texts = [
        f"{memory_text(amount)} of memory"
        if kind == "memory"
        else f"{amount:g} {kind}{'' if amount == 1 else 's'}"
        for kind, amount in amounts.items()
    ]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
