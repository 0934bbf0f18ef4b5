"""A study that runs again after a change of a stored file gives the same numbers.

`TUNE_DISTILL_CHANGES` is the number of changes to try, by default 30. Most go through planning,
trials and tables in this process, and a few through the command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.faults.changes import Change, change
from tests.faults.studies import assert_same_tables
from tests.records.made import LocalStore, resolved
from tune_distill.planning.plans import plans
from tune_distill.records.trials import complete_record, stored_record, write_study_tables
from tune_distill.study import main
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

NUM_CHANGES = int(os.environ.get("TUNE_DISTILL_CHANGES", "30"))
NUM_COMMANDS = max(1, NUM_CHANGES // 100)

FIELDS = {
    "data.num_train": 24,
    "data.num_validation": 8,
    "train.num_epochs": 1,
    "train.batch_size": 8,
    "train.eval_steps": 1,
    "decode.max_new_tokens": 8,
}
COMMAND = ["smoothing", *(f"--set={name}={value}" for name, value in FIELDS.items()), "--quiet"]
STUDY = resolved("smoothing", **{name.replace(".", "__"): each for name, each in FIELDS.items()})


class Study:
    """A study whose last trial was interrupted, with its inputs and its undisturbed tables."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.undisturbed = folder / "begun", folder / "undisturbed"
        self._inputs = Inputs()
        store = LocalStore(self.begun / ".store")
        trials = next(plans(STUDY, self._inputs, store)).trials
        self._inputs.prepare([trial.profile for trial in trials], store)
        for trial in trials[:-1]:
            list(run_trial(trial, self._inputs, store))
        interrupted = run_trial(trials[-1], self._inputs, store)
        next(interrupted)
        del interrupted
        assert store.has_checkpoint(trials[-1].run_key)
        shutil.copytree(self.begun, self.undisturbed)
        assert self.run(self.undisturbed) == 1

    def run(self, results: Path) -> int:
        """Run the study in this process; return how many trials were not in the store."""
        store, inputs = LocalStore(results / ".store"), replace(self._inputs, simulators={})
        plan = next(plans(STUDY, inputs, store))
        inputs.prepare([trial.profile for trial in plan.pending], store)
        for trial in plan.pending:
            list(run_trial(trial, inputs, store))
        records = [
            stored_record(trial, plan, store)
            if trial.trial_id in plan.finished
            else complete_record(trial, store, reused=False)
            for trial in plan.trials
        ]
        write_study_tables(results / "smoothing", "smoothing", records, store, inputs)
        return len(plan.pending)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    num_threads = torch.get_num_threads()
    # Training such a small student is many times slower with threads on a shared machine.
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield Study(tmp_path_factory.mktemp("study"))
    torch.set_num_threads(num_threads)


@pytest.fixture
def results(study: Study, tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the interrupted study, and remove it, because many would fill a disk."""
    yield shutil.copytree(study.begun, tmp_path / "results")
    shutil.rmtree(tmp_path / "results")


def set_aside(results: Path) -> list[str]:
    return sorted(path.name for path in (results / ".store").rglob("*.damaged-*"))


def assert_was_found(done: Change, results: Path, told: list[str]) -> None:
    """Check that a changed file was set aside and reported; a deleted one may just be missing."""
    found = set_aside(results)
    assert found or done.deletes, done
    for name in found:
        assert any(line.endswith(f"set aside as {name}") for line in told), (done, name, told)


@pytest.mark.parametrize("seed", range(NUM_CHANGES))
def test_a_changed_file_changes_no_number(
    study: Study, results: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    done = change(results / ".store", seed)
    assert study.run(results) > 0
    assert_same_tables(results, study.undisturbed)
    assert_was_found(done, results, caplog.messages)
    # Everything has been made again, so a further run finds no damage and trains nothing.
    before = set_aside(results)
    assert study.run(results) == 0, done
    assert_same_tables(results, study.undisturbed)
    assert set_aside(results) == before


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(1000, 1000 + NUM_COMMANDS))
def test_the_command_succeeds_with_a_changed_file(
    study: Study,
    results: Path,
    seed: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = change(results / ".store", seed)
    assert main([*COMMAND, "--results", str(results)]) == 0, done
    assert "Traceback" not in capsys.readouterr().err
    assert_same_tables(results, study.undisturbed)
    assert_was_found(done, results, caplog.messages)
