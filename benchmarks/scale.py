"""Planning, looking up, writing tables and judging them, for 100 to 100,000 trials.

A store is first filled with made-up answers, which is not measured. Then the study, whose trials
are all found in the store, and the verdict on its tables each run in a process of their own, which
prints its times and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Promise, report
from tune_distill.records.examples import content_ids
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.records.trials import stored_record, write_study_tables
from tune_distill.spec.plan import ResolvedStudy, Trial, make_plan, planned_trials
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import dump_study, load_profile, shipped_task
from tune_distill.tasks.scoring import Row
from tune_distill.training.inputs import Inputs

SIZES = (100, 1_000, 10_000, 100_000)
NUM_SEEDS = 10
NUM_ANSWERS = 10
LABELS = shipped_task("esnli").labels or []
MOST_S, MOST_GIB, MOST_TIMES_SLOWER = 60.0, 1.0, 1.5
PROMISED = ("plan_s", "look_up_s", "write_s")
SHOWN = (*PROMISED, "peak_gib", "read_s", "judge_s", "judge_peak_gib")

Told = dict[str, float]


def main(given: argparse.Namespace) -> int:
    """Return the exit code, which is 0 if all promises hold."""
    found = {size: _in_own_processes(size) for size in SIZES}
    per_trial_ms = {
        size: 1e3 * sum(told[part] for part in PROMISED) / size for size, told in found.items()
    }
    rows = [
        (size, *(told[part] for part in SHOWN), per_trial_ms[size]) for size, told in found.items()
    ]
    largest = max(found)
    total_s = per_trial_ms[largest] * largest / 1e3
    promises = [
        Promise(f"{largest} trials, seconds", total_s, MOST_S),
        Promise(f"{largest} trials, GiB", found[largest]["peak_gib"], MOST_GIB),
    ]
    if 1_000 in found:
        slower = per_trial_ms[largest] / per_trial_ms[1_000]
        promises.append(Promise(f"time a trial, {largest} to 1000", slower, MOST_TIMES_SLOWER))
    columns = ("trials", *(part.replace("_", " ") for part in SHOWN), "ms a trial")
    return report("scale", columns, rows, promises, {"sizes": found}, given.json)


def _in_own_processes(size: int) -> Told:
    told: Told = {}
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.scale", step, str(size), folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            told |= json.loads(done.stdout.splitlines()[-1])
            print(f"  {size}: {told}", file=sys.stderr, flush=True)
    return told


def fill_store(size: int, folder: Path) -> Told:
    """Fill the store in the folder for every trial of the study; return the seconds."""
    from benchmarks.runner import fill

    told: Told = {}
    with _timed(told, "fill_s"):
        store = Store(Unflushed(folder / "store"))
        inputs = Inputs()
        for trial in planned_trials(_resolved(size), inputs):
            examples = inputs.validation(trial.profile.task, trial.profile.data)[:NUM_ANSWERS]
            fill(store, trial, _answers(trial, content_ids(examples)))
    return told


def study(size: int, folder: Path) -> Told:
    """Write the study's tables from the store; return the seconds and the peak memory."""
    told: Told = {}
    inputs, store = Inputs(), Store(Folder(folder / "store"))
    # Make the corpus before, because it is the same for any number of trials.
    mini = load_profile("mini")
    inputs.data_identity(mini.task, mini.data)
    with _timed(told, "plan_s"):
        resolved = _resolved(size)
        search_key, trials = resolved.search_key(inputs), planned_trials(resolved, inputs)
    with _timed(told, "look_up_s"):
        plan = make_plan(resolved, search_key, trials, store)
        assert len(plan.finished) == size
        records = [stored_record(trial, plan, store) for trial in plan.trials]
    results = folder / "results" / resolved.study.name
    with _timed(told, "write_s"):
        write_study_tables(results, resolved.study.name, records, store, inputs)
        (results / "study.yaml").write_text(dump_study(resolved))
    return told | {"peak_gib": _peak_gib()}


def verdict(size: int, folder: Path) -> Told:
    """Read the tables and judge the study; return the seconds and the peak memory."""
    from tune_distill.analysis.results import read_results
    from tune_distill.analysis.verdict import judge

    told: Told = {}
    with _timed(told, "read_s"):
        results = read_results(folder / "results" / "scale")
        assert len(results.scores.trial_ids) == size
    with _timed(told, "judge_s"):
        found = judge(results)
        assert len(found.primary) == size // NUM_SEEDS - 1
    return told | {"judge_peak_gib": _peak_gib()}


STEPS: dict[str, Callable[[int, Path], Told]] = {
    "fill": fill_store,
    "study": study,
    "verdict": verdict,
}


class Unflushed(Folder):
    """A folder whose files may not survive a power cut, because filling is not measured."""

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        self.path(name).mkdir(parents=True)
        yield self.path(name)

    def create(self, name: str, content: bytes) -> bool:
        with self.writing(name) as path:
            path.write_bytes(content)
        return True


def _resolved(size: int) -> ResolvedStudy:
    rates = [1e-5 * (1 + number) for number in range(size // NUM_SEEDS)]
    study = Study.model_validate(
        {"name": "scale", "question": "Linear?", "vary": {"train.learning_rate": rates}}
    )
    profile = study_profile(study, "mini", load_profile("mini"), {})
    return ResolvedStudy(study, "mini", profile, tuple(range(NUM_SEEDS)))


def _answers(trial: Trial, example_ids: list[str]) -> list[Row]:
    """Return random answers to these examples, different in each trial, for the statistics."""
    from benchmarks.runner import ANSWER

    rng = random.Random(trial.evaluation_key)
    return [
        ANSWER
        | {
            "example_id": example_id,
            "predicted_label": (label := rng.choice(LABELS)),
            "correct": label == ANSWER["gold_label"],
            "rouge1": rng.random(),
            "rouge2": rng.random(),
            "rougeL": rng.random(),
            "faithful": rng.random() < 0.5,
            "grounding": rng.random(),
            "eval_loss": rng.random(),
        }
        for example_id in example_ids
    ]


@contextmanager
def _timed(told: Told, name: str) -> Iterator[None]:
    before = time.perf_counter()
    yield
    told[name] = time.perf_counter() - before


def _peak_gib() -> float:
    # Not getrusage's value, which begins with the memory of the parent process.
    status = Path("/proc/self/status").read_text()
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kib) / 2**20


if __name__ == "__main__":
    _, step, size, folder = sys.argv
    print(json.dumps(STEPS[step](int(size), Path(folder))))
