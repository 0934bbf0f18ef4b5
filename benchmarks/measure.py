"""Running whole processes in turn, and comparing the medians of their times."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tune_distill.records.environment import environment


@dataclass(frozen=True)
class Promise:
    """A figure and its upper or lower bound."""

    what: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def text(self) -> str:
        rule = "at least" if self.at_least else "at most"
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"{self.what}: {self.value:.3g} ({rule} {self.bound:g}); {verdict}"


def in_turn(ways: Mapping[str, Callable[[], float]], num_rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each round.

    Each round runs all ways and begins with another one, so that a slowdown of the machine affects
    all of them.
    """
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(num_rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(ways[name]())
            print(f"  {name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], ours: str, peer: str) -> float:
    """Return the median over the rounds of our time divided by the peer's."""
    pairs = zip(seconds[ours], seconds[peer], strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def process_s(command: Sequence[str], folder: Path) -> float:
    """Return the seconds that the whole process takes; raise RuntimeError if it fails."""
    log = folder / "peer.log"
    started = time.perf_counter()
    with log.open("w") as stream:
        done = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
    elapsed_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{log.read_text()}")
    return elapsed_s


def report(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    promises: Sequence[Promise],
    figures: Mapping[str, Any],
    json_path: str | None,
) -> int:
    """Show the table and its promises, write them to the file, and return the exit code."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=100).print(table)
    for promise in promises:
        print(promise.text())
    if json_path:
        told = [asdict(promise) | {"holds": promise.holds} for promise in promises]
        content = {
            "benchmark": title,
            "rows": [dict(zip(columns, row, strict=True)) for row in rows],
            "promises": told,
            **figures,
            **environment(),
            "load": os.getloadavg(),
        }
        Path(json_path).write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(promise.holds for promise in promises) else 1
