"""Studies whose workers die, hang and raise, on a real local Ray."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.records.made import study_of
from tune_distill.planning.events import Report
from tune_distill.planning.optuna_queue import OptunaQueue
from tune_distill.planning.plans import plans
from tune_distill.planning.resources import Limits, TrialResources
from tune_distill.planning.work import Work
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.records.trials import TrialRecord
from tune_distill.spec.errors import StoreError, StudentError
from tune_distill.spec.plan import Plan, ResolvedStudy, Trial
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import study_profile
from tune_distill.spec.yaml_files import load_profile
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.trainable import StudyTrainable

pytestmark = pytest.mark.slow

# This folder keeps notes about disturbed trials, for all processes of a test.
MARKS = "TUNE_DISTILL_TEST_MARKS"
FIRST, SECOND, THIRD = (f"label_smoothing={value},seed=0" for value in (0.0, 0.1, 0.2))


def first_time(name: str) -> bool:
    """Return whether this is the first call with this name in any process."""
    try:
        (Path(os.environ[MARKS]) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def is_victim(config: Mapping[str, Any]) -> bool:
    return bool(config["values"]["label_smoothing"] == 0.1)


class Noting(StudyTrainable):
    """Notes which process had which trial."""

    def attempt(self, config):
        (Path(os.environ[MARKS]) / f"{config['values']['label_smoothing']}.{os.getpid()}").touch()
        yield from self.disturbed(config)

    def disturbed(self, config):
        yield from super().attempt(config)


class DyingOnce(Noting):
    def disturbed(self, config):
        for number, progress in enumerate(super().disturbed(config)):
            if is_victim(config) and number == 2 and first_time("died"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield progress


class DyingTwice(Noting):
    def disturbed(self, config):
        for progress in super().disturbed(config):
            yield progress
            # The yielded progress has been reported by now, so each attempt gets further.
            if is_victim(config) and progress.step in (4, 12) and first_time(f"{progress.step}"):
                os.kill(os.getpid(), signal.SIGKILL)


class DyingAlways(Noting):
    def disturbed(self, config):
        if is_victim(config):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().disturbed(config)


class DyingBetweenTrials(Noting):
    """A worker that dies when it gets its next trial."""

    def reset_config(self, new_config):
        if first_time("died"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reset_config(new_config)


class DyingInSetup(Noting):
    def setup(self, config, context, inputs):
        if first_time("died"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().setup(config, context, inputs)


class Hanging(Noting):
    """Hangs in C code that does not release the interpreter's lock."""

    def disturbed(self, config):
        if is_victim(config):
            ctypes.PyDLL(None).sleep(1000)
        yield from super().disturbed(config)


class Raising(Noting):
    def disturbed(self, config):
        if is_victim(config):
            raise ArithmeticError("no\nnumber")
        yield from super().disturbed(config)


class Events:
    """A display that keeps its events."""

    def __init__(self) -> None:
        self.started_: list[str] = []
        self.retries: list[tuple[str, int, str]] = []
        self.reports: dict[str, list[Report]] = {}
        self.ends: list[str] = []

    def begin(self, plans: Sequence[Plan], num_workers: int) -> None:
        pass

    def started(self, trial: Trial) -> None:
        self.started_.append(trial.trial_id)

    def retried(self, trial: Trial, num_retries: int, reason: str) -> None:
        self.retries.append((trial.trial_id, num_retries, reason))

    def progressed(self, trial: Trial, report: Report) -> None:
        self.reports.setdefault(trial.trial_id, []).append(report)

    def ended(self, record: TrialRecord) -> None:
        self.ends.append(record.trial.trial_id)

    def close(self) -> None:
        pass


class Ended:
    """Keeps the records of a plan, which it must get only once."""

    records: list[TrialRecord]

    def __call__(self, plan: Plan, records: list[TrialRecord]) -> None:
        assert not hasattr(self, "records")
        self.records = records


def done(inputs: Inputs) -> Future[Inputs]:
    """Return a completed future of the inputs."""
    future: Future[Inputs] = Future()
    future.set_result(inputs.for_workers())
    return future


class Ran:
    """A smoothing study that was run with this trainable."""

    def __init__(self, folder: Path, trainable: type[StudyTrainable], **limits: Any) -> None:
        from tune_distill.tuning.runner import run_on_tune

        self.events = Events()
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        Path(os.environ[MARKS]).unlink(missing_ok=True)
        Path(os.environ[MARKS]).symlink_to(self.marks)
        inputs, store = Inputs(), Store(Folder(folder / "store"))
        study = study_of({"train.label_smoothing": [0.0, 0.1, 0.2]})
        resolved = ResolvedStudy(study, "tiny", profile(study), (0,))
        (plan,) = plans(resolved, inputs, store)
        inputs.prepare([trial.profile for trial in plan.pending], store)
        ended = Ended()
        work = Work([plan], [plan], inputs, store, Limits(**limits), self.events, ended)
        resources = TrialResources(1.0, 0.0, 1)
        self.early = run_on_tune(work, done(inputs), store.place, resources, trainable)
        records = ended.records
        self.records = {record.trial.trial_id: record for record in records}
        assert not self.early
        assert len(self.records) == len(records) == 3
        assert sorted(self.events.started_) == sorted(self.events.ends) == [FIRST, SECOND, THIRD]

    def numbers(self) -> dict[str, Any]:
        """Return all results of the trials but times."""
        return {
            name: (
                record.state,
                record.evaluation and record.evaluation.metrics,
                [{**vars(row), "elapsed_s": None} for row in record.history],
            )
            for name, record in self.records.items()
        }

    def pids(self, value: float) -> set[str]:
        """Return the processes that had the trial of this value."""
        return {path.suffix for path in self.marks.glob(f"{value}.*")}


def profile(study: Any) -> Profile:
    fields = {
        "data.num_train": 64,
        "data.num_validation": 8,
        "train.num_epochs": 3,
        "train.batch_size": 8,
        "train.eval_steps": 4,
        "decode.max_new_tokens": 4,
    }
    return study_profile(study, "mini", load_profile("mini"), fields)


@pytest.fixture(scope="module", autouse=True)
def ray_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers import this module by its name.
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv(MARKS, str(tmp_path_factory.mktemp("marks") / "now"))
        with running_ray(None):
            yield


@pytest.fixture(scope="module")
def undisturbed(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("undisturbed"), Noting)


def test_one_worker_takes_all_trials_of_an_undisturbed_study(undisturbed: Ran) -> None:
    assert undisturbed.events.retries == []
    assert {record.num_retries for record in undisturbed.records.values()} == {0}
    assert undisturbed.pids(0.0) == undisturbed.pids(0.1) == undisturbed.pids(0.2)


def test_a_killed_workers_trial_resumes_from_its_checkpoint(
    undisturbed: Ran, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, DyingOnce)
    assert ran.numbers() == undisturbed.numbers()
    assert ran.records[SECOND].num_retries == 1
    assert ran.events.retries == [(SECOND, 1, "worker died: its process ended")]
    reports = ran.events.reports[SECOND]
    # The worker died after it wrote the third checkpoint and before it reported it.
    assert [(report.step, report.resumed_step) for report in reports] == [
        (4, 0),
        (8, 0),
        (12, 12),
        (16, 12),
        (20, 12),
        (24, 12),
    ]
    assert len({report.pid for report in reports}) == 2
    assert len({report.node for report in reports}) == 1


@pytest.mark.proof
def test_a_trial_that_advances_with_each_attempt_is_never_given_up(
    undisturbed: Ran, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, DyingTwice, max_retries=1)
    assert ran.numbers() == undisturbed.numbers()
    assert [number for _, number, _ in ran.events.retries] == [1, 2]


@pytest.mark.proof
def test_a_trial_whose_workers_always_die_is_failed_and_the_others_complete(
    tmp_path: Path,
) -> None:
    ran = Ran(tmp_path, DyingAlways, max_retries=2)
    assert {name: record.state for name, record in ran.records.items()} == {
        FIRST: "complete",
        SECOND: "failed",
        THIRD: "complete",
    }
    assert ran.records[SECOND].error == (
        "worker died: its process ended; given up after 2 retries "
        "(--max-retries 2 without a new checkpoint)"
    )
    assert ran.records[SECOND].num_retries == 2
    assert [number for name, number, _ in ran.events.retries] == [1, 2]


@pytest.mark.proof
@pytest.mark.parametrize("trainable", [DyingBetweenTrials, DyingInSetup])
def test_a_worker_may_die_before_it_has_begun(
    undisturbed: Ran, tmp_path: Path, trainable: type[StudyTrainable]
) -> None:
    ran = Ran(tmp_path, trainable)
    assert ran.numbers() == undisturbed.numbers()
    assert [record.num_retries for record in ran.records.values()].count(1) == 1


@pytest.mark.proof
def test_a_trial_that_hangs_is_ended(tmp_path: Path) -> None:
    ran = Ran(tmp_path, Hanging, max_retries=0, time_limit_s=25.0)
    assert ran.records[SECOND].state == "failed"
    assert ran.records[SECOND].error == (
        "took longer than --trial-time-limit 25 s; given up after 0 retries "
        "(--max-retries 0 without a new checkpoint)"
    )
    assert ran.events.retries == []
    assert (ran.records[FIRST].state, ran.records[THIRD].state) == ("complete", "complete")


def test_an_exception_fails_its_trial_and_leaves_the_worker(tmp_path: Path) -> None:
    ran = Ran(tmp_path, Raising)
    assert ran.records[SECOND].state == "failed"
    assert ran.records[SECOND].error == "ArithmeticError: no number"
    assert (ran.records[SECOND].num_retries, ran.events.retries) == (0, [])
    assert ran.pids(0.0) == ran.pids(0.1) == ran.pids(0.2)


@pytest.mark.proof
def test_a_journal_that_cannot_be_written_ends_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tune_distill.tuning.runner import run_on_tune

    study = study_of(
        {"train.label_smoothing": {"type": "uniform", "low": 0.0, "high": 0.3}},
        search={"method": "optuna", "num_samples": 4},
        metric={"name": "eval_loss", "mode": "min"},
    )
    resolved = ResolvedStudy(study, "tiny", profile(study), (0,))
    inputs, store, events = Inputs(), Store(Folder(tmp_path)), Events()
    (plan,) = plans(resolved, inputs, store)
    inputs.prepare([profile(study)], store)
    told = OptunaQueue.reported

    def refuse(self: Any, trial: Trial, step: int, eval_loss: float | None) -> None:
        if events.ends:
            raise StoreError("journal: must be writable, got No space left on device")
        told(self, trial, step, eval_loss)

    monkeypatch.setattr(OptunaQueue, "reported", refuse)
    resources = TrialResources(1.0, 0.0, 1)
    prepared, ended = done(inputs), Ended()
    work = Work([plan], [plan], inputs, store, Limits(), events, ended)
    early = run_on_tune(work, prepared, store.place, resources)
    assert early
    complete, failed = ended.records
    assert (complete.state, failed.state) == ("complete", "failed")
    assert failed.error is not None
    assert failed.error.startswith("the driver could not go on: ")
    assert "No space left on device" in failed.error
    assert "No space left on device" in caplog.text
    monkeypatch.undo()
    (plan,) = plans(resolved, inputs, store)
    ended = Ended()
    work = Work([plan], [plan], inputs, store, Limits(), Events(), ended)
    early = run_on_tune(work, prepared, store.place, resources)
    assert (early, {record.state for record in ended.records}) == (False, {"complete"})
    (plan,) = plans(resolved, inputs, store)
    assert (len(plan.trials), plan.num_to_run) == (4, 0)


def test_an_error_of_preparing_inputs_is_raised(tmp_path: Path) -> None:
    from tune_distill.tuning.runner import run_on_tune

    study = study_of({"train.label_smoothing": [0.0, 0.1]})
    resolved = ResolvedStudy(study, "tiny", profile(study), (0,))
    inputs, store, events, ended = Inputs(), Store(Folder(tmp_path)), Events(), Ended()
    (plan,) = plans(resolved, inputs, store)
    refused: Future[Inputs] = Future()
    refused.set_exception(StudentError("student.source: must load as a T5"))
    resources = TrialResources(1.0, 0.0, 1)
    work = Work([plan], [plan], inputs, store, Limits(), events, ended)
    with pytest.raises(StudentError, match="must load as a T5"):
        run_on_tune(work, refused, store.place, resources)
    assert (events.started_, events.ends, hasattr(ended, "records")) == ([], [], False)
