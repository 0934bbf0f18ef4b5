"""Whether the driver keeps up: trials that do nothing pass the runner, Ray Tune and the store.

A study of 100 trials and one of 1,000 run alternately, each in a process of its own. Measured are
the time per trial after the first 20 (workers start once), the same after the first on each worker
slot, and the growth of the driver's memory from the 100th ended trial to the last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.measure import Promise, report
from tune_distill.cli.progress import QuietDisplay
from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.planning.work import Work
from tune_distill.records.places import Folder
from tune_distill.records.runs import EvaluationRecord, HistoryRow, RunRecord
from tune_distill.records.store import Store
from tune_distill.records.tables import write_predictions
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.plan import ResolvedStudy, Trial, make_plan, planned_trials
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import load_profile
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import Progress
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.runner import run_on_tune
from tune_distill.tuning.trainable import StudyTrainable

FEW, MANY = 100, 1000
NUM_ROUNDS = 3
# Workers start and import what they need during these trials.
NUM_WARM_UP = 20
MOST_TIMES_SLOWER = 1.2
MOST_GROWTH_MIB = 100.0
MOST_TRIAL_S = 0.3


class NoOp(StudyTrainable):
    """Stores a made-up run and evaluation for each trial."""

    def attempt(self, config: Mapping[str, Any]) -> Iterator[Progress]:
        context = self._context
        trial = context.trial(config, self._inputs)
        fill(Store(context.place), trial)
        yield Progress(1, 1, _HISTORY, metrics=_METRICS, final_eval_loss=1.0)


def fill(store: Store, trial: Trial, answers: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Store a made-up run and evaluation of the trial, with one answer or with these."""
    rows = [ANSWER] if answers is None else answers
    store.begin_run(trial.run_key, trial.run_identity)
    store.finish_run(
        trial.run_key,
        trial.run_identity,
        _run(trial),
        lambda path: (path / "config.json").touch(),
    )
    store.save_evaluation(
        trial.evaluation_key,
        trial.run_key,
        EvaluationRecord(_METRICS, 1.0, len(rows), 0.0),
        lambda path: write_predictions(path, rows),
    )


class Stopwatch(QuietDisplay):
    """Collects the time at which each trial ended, and the driver's memory at that time."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # it shows nothing
        self.ended_s: list[float] = []
        self.resident_mib: list[float] = []

    def ended(self, record: TrialRecord) -> None:
        assert record.state == "complete", record.error
        self.ended_s.append(time.perf_counter())
        self.resident_mib.append(_resident_mib())


def main(given: argparse.Namespace) -> int:
    """Return the exit code, which is 0 if all promises hold."""
    rounds = [{count: in_own_process(count) for count in (FEW, MANY)} for _ in range(NUM_ROUNDS)]

    def median(count: int, figure: str) -> float:
        return statistics.median(each[count][figure] for each in rounds)

    slower = statistics.median(each[MANY]["trial_s"] / each[FEW]["trial_s"] for each in rounds)
    promises = [
        Promise(f"time a trial, {MANY} to {FEW}", slower, MOST_TIMES_SLOWER),
        Promise("driver's growth, MiB", median(MANY, "growth_mib"), MOST_GROWTH_MIB),
        Promise("a trial beyond the first on each slot, s", median(MANY, "beyond_s"), MOST_TRIAL_S),
    ]
    figures = ("trial_s", "beyond_s", "growth_mib")
    rows = [(count, *(median(count, figure) for figure in figures)) for count in (FEW, MANY)]
    columns = ("trials", "s a trial", "s beyond the first on each slot", "growth MiB")
    return report("runner", columns, rows, promises, {"rounds": rounds}, given.json)


def in_own_process(count: int) -> dict[str, float]:
    """Return the figures of `measure`, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.runner", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(count: int) -> dict[str, float]:
    """Return seconds per trial once workers are up, and growth of memory in MiB."""
    study = Study.model_validate(
        {"name": "no_op", "question": "Fast?", "vary": {"train.label_smoothing": [0.0, 0.1]}}
    )
    profile = study_profile(study, "mini", load_profile("mini"), {})
    resolved = ResolvedStudy(study, "mini", profile, tuple(range(count // 2)))
    inputs, watch = Inputs(), Stopwatch()
    prepared: Future[Inputs] = Future()
    prepared.set_result(inputs)
    with tempfile.TemporaryDirectory() as folder, running_ray(None) as nodes:
        store = Store(Folder(Path(folder)))
        plan = make_plan(
            resolved, resolved.search_key(inputs), planned_trials(resolved, inputs), store
        )
        workers = int(sum(node.get("CPU", 0) for node in nodes))
        resources = TrialResources(cpus=1.0, gpus=0.0, max_concurrent=workers)
        work = Work([plan], [plan], inputs, store, Limits(), watch, lambda *_: None)
        run_on_tune(work, prepared, store.place, resources, NoOp)
    assert len(watch.ended_s) == count
    timed = watch.ended_s[NUM_WARM_UP:]
    return {
        "trial_s": (timed[-1] - timed[0]) / (len(timed) - 1),
        "beyond_s": (watch.ended_s[-1] - watch.ended_s[workers - 1]) / (count - workers),
        "growth_mib": watch.resident_mib[-1] - watch.resident_mib[FEW - 1],
    }


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


_HISTORY = (HistoryRow(1, 1.0, 1.0, 1.0, 1.0, 1e-3, 0.1),)

_METRICS: dict[str, float | None] = dict.fromkeys(
    ("label_accuracy", "parse_rate", "rouge1", "rouge2", "rougeL", "faithfulness"), 0.5
)

ANSWER = {
    "example_id": "e1",
    "sample": 0,
    "gold_label": "neutral",
    "predicted_label": "neutral",
    "correct": True,
    "prediction": "neutral",
    "explanation": "",
    "rouge1": 0.0,
    "rouge2": 0.0,
    "rougeL": 0.0,
    "faithful": True,
    "grounding": None,
    "eval_loss": 1.0,
    "num_target_tokens": 1,
}


def _run(trial: Trial) -> RunRecord:
    return RunRecord(
        num_train=trial.run_identity["data"]["num_train"],
        num_steps=1,
        final_train_loss=1.0,
        eval_loss=1.0,
        validation_digest=trial.evaluation_identity["validation"]["digest"],
        training_time_s=0.1,
        examples_per_s=1.0,
        source_truncated_fraction=0.0,
        target_truncated_fraction=0.0,
        device="cpu",
        instruction_set="none",
        precision="fp32",
        history=_HISTORY,
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
