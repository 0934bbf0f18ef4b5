"""ASHA, which decides which trials of a search are stopped early."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import Literal, NamedTuple

import numpy as np

from tune_distill.records.runs import HistoryRow
from tune_distill.spec.study import Asha


class _Judged(NamedTuple):
    """The judgement of a run at a rung: its value (larger is better), and whether it stops."""

    gain: float
    stops: bool


class Halving:
    """Asynchronous successive halving over training steps, for metrics that are reported in steps.

    A trial is judged at each rung, when it first reports at or beyond the rung's step. It is
    stopped if it is worse than the best 1 in `reduction_factor` of the trials judged there before.
    Trials of a run in `spared` are judged but never stopped. Trials that share a run share its
    judgement.

    Source: Li et al. 2020, arXiv 1810.05934, with one bracket; the same decisions as
    `ray.tune.schedulers.ASHAScheduler(stop_last_trials=False)`.
    """

    def __init__(
        self,
        asha: Asha,
        mode: Literal["min", "max"],
        num_steps: int,
        spared: Container[str] = frozenset(),
    ) -> None:
        self._sign = 1.0 if mode == "max" else -1.0
        self._factor, self._spared = asha.reduction_factor, spared
        first = max(1, round(num_steps * asha.grace_fraction))
        num_rungs = int(math.log(max(2, num_steps) / first) / math.log(self._factor) + 1)
        steps = [first * self._factor**rung for rung in range(num_rungs)]
        self._judged: dict[int, dict[str, _Judged]] = {step: {} for step in reversed(steps)}
        """The judgements of runs by the rung's step, the last rung first."""

    def know(self, run_key: str, history: Iterable[HistoryRow]) -> None:
        """Judge a run of an earlier command, so that new runs are compared with it."""
        for row in history:
            if row.eval_loss is not None:
                self._stops(run_key, row.step, row.eval_loss)

    def stops(self, run_key: str, step: int, value: float) -> bool:
        """Return whether to stop a trial of this run that reports this value."""
        return self._stops(run_key, step, value) and run_key not in self._spared

    def _stops(self, run_key: str, step: int, value: float) -> bool:
        for rung, judged in self._judged.items():
            if step >= rung:
                if run_key not in judged:
                    gain = self._sign * value
                    worst = self._worst(judged)
                    judged[run_key] = _Judged(gain, worst is not None and gain < worst)
                # Another trial of the run, or another attempt, gets the same judgement.
                return judged[run_key].stops
        return False

    def _worst(self, judged: dict[str, _Judged]) -> float | None:
        """Return the worst value that goes on; None before any trial was judged here."""
        if not judged:
            return None
        gains = [each.gain for each in judged.values()]
        return float(np.nanpercentile(gains, (1 - 1 / self._factor) * 100))
