"""Studies that are killed or interrupted, and resumed by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import tune_distill
from tests.guest import SMALL
from tests.processes import wait_until
from tests.records.made import LocalStore
from tests.study_process import command, run
from tune_distill.cli.options import parse_arguments
from tune_distill.records.store import Store
from tune_distill.spec.plan import planned_trials
from tune_distill.students.process import configure_torch
from tune_distill.study import resolve
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

# A few seconds of training, with a checkpoint at every eighth of its 120 steps.
LONGER = [
    f"--set={field}" for field in ("data.num_train=240", "train.num_epochs=4", "train.eval_steps=8")
]


@pytest.mark.slow
class TestKilled:
    """The command is killed or interrupted, and the same command resumes."""

    @pytest.mark.proof
    def test_a_killed_study_resumes_to_the_same_weights(self, tmp_path: Path) -> None:
        longer = [*SMALL, *LONGER]
        store = LocalStore(tmp_path / "killed" / ".store")
        arguments = ["smoothing", *longer, "--results", str(tmp_path / "killed")]
        process = subprocess.Popen(
            command(*arguments, "--max-concurrent", "1"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(
            lambda: len(_finished(store)) == 1 and len(_checkpoints(store)) == 1,
            "a second run",
        )
        process.kill()
        process.wait()
        finished = _finished(store)
        resumed_from = _checkpoints(store)[0].parent.name
        wait_until(lambda: not _written_lately(store.root), "the workers to end")

        ended = run(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        events = [json.loads(line) for line in ended.stdout.splitlines()]
        started = [event["run_key"] for event in events if event["event"] == "started"]
        assert not set(started) & finished
        (first,) = [
            event
            for event in events
            if event["event"] == "started" and event["run_key"] == resumed_from
        ]
        resumed = [
            event["resumed_step"]
            for event in events
            if event["event"] == "progressed" and event["trial_id"] == first["trial_id"]
        ]
        assert min(resumed) >= 8

        undisturbed = LocalStore(tmp_path / "undisturbed")
        inputs = Inputs()
        trials = planned_trials(resolve("smoothing", parse_arguments(arguments)), inputs)
        inputs.prepare([trial.profile for trial in trials], undisturbed)
        configure_torch(1)
        for trial in trials:
            list(run_trial(trial, inputs, undisturbed))
            ours, theirs = (
                (kept.student_dir(trial.run_key) / "model.safetensors").read_bytes()
                for kept in (store, undisturbed)
            )
            assert ours == theirs

    @pytest.mark.parametrize("num_complete", [pytest.param(0, marks=pytest.mark.proof), 1])
    def test_ctrl_c_keeps_complete_trials(self, tmp_path: Path, num_complete: int) -> None:
        longer = [*SMALL, *LONGER]
        store = LocalStore(tmp_path / ".store")
        process = subprocess.Popen(
            # The second study must not start.
            command(
                *("smoothing", "sequence_length"),
                *(*longer, "--max-concurrent", "1", "--results", str(tmp_path)),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(
            lambda: len(_finished(store)) == num_complete and bool(_checkpoints(store)),
            f"{num_complete} complete trainings",
        )
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 1, errors
        assert "Traceback" not in errors
        frame = tune_distill.load("smoothing", results=tmp_path)
        states = list(frame["state"])
        assert (states.count("complete"), states.count("failed")) == (
            num_complete,
            3 - num_complete,
        )
        assert "interrupted; run the same command again" in output
        assert "sequence_length: not begun" in output
        assert not (tmp_path / "sequence_length").exists()


def _finished(store: Store) -> set[str]:
    return {path.parent.name for path in (store.root / "runs").glob("*/run.json")}


def _checkpoints(store: Store) -> list[Path]:
    return list((store.root / "runs").glob("*/checkpoint.safetensors"))


def _written_lately(root: Path) -> bool:
    """Return whether a worker that has lost its driver still writes; it ends within two seconds."""
    newest = max(path.stat().st_mtime for path in root.rglob("*"))
    return time.time() - newest < 3
