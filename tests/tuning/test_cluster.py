"""The study command on a real Ray that lacks undocumented names, fails to start, or is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.studies import LONG, assert_same_tables
from tests.processes import Process, processes, wait_until
from tests.study_process import StudyProcess
from tune_distill.tuning.capabilities import SWITCH
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.compat import CAPABILITIES, QUIET

pytestmark = pytest.mark.slow

SMALL = [
    f"--set={field}"
    for field in (
        "data.num_train=40",
        "data.num_validation=20",
        "train.num_epochs=1",
        "decode.max_new_tokens=8",
    )
]

EACH = [name.path for capability in CAPABILITIES for name in capability.names]
# Each name takes half a minute.
IN_TURN = EACH if os.environ.get("TUNE_DISTILL_PROOFS") == "all" else []


def small_study(folder: Path, **environment: str) -> str:
    """Run the small study in the folder; return what it wrote to standard error."""
    with StudyProcess(folder, "smoothing", *SMALL, **(os.environ | environment)) as study:
        assert study.wait() == 0, study.report()
    return study.errors


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the small study with all of Ray's names."""
    folder = tmp_path_factory.mktemp("plain")
    assert small_study(folder) == ""
    return folder / "results"


@pytest.mark.parametrize("missing", ["all", *IN_TURN])
@pytest.mark.proof
def test_a_study_completes_with_the_same_numbers_without_undocumented_names(
    missing: str, plain: Path, tmp_path: Path
) -> None:
    errors = small_study(tmp_path, **{SWITCH: missing}).splitlines()
    # Only the driver warns, once, and not about names that this study does not use.
    told = [line for line in errors if "so the study does without: " in line]
    assert len(told) <= 1
    assert errors == told
    assert bool(told) == (missing not in _of_other_commands())
    assert_same_tables(tmp_path / "results", plain)


def _of_other_commands() -> set[str]:
    """Return the names that are used only to join a cluster or submit a job."""
    words = ("canonicalize", "_raylet", "job_submission")
    return {path for path in EACH if any(word in path for word in words)}


@pytest.mark.proof
def test_a_worker_that_dies_is_recovered_by_tune_alone(tmp_path: Path) -> None:
    # QUIET stays on, because Ray's own message would appear among the lines of JSON.
    missing = [name.path for each in CAPABILITIES if each != QUIET for name in each.names]
    environment = os.environ | {SWITCH: ",".join(missing)}
    with StudyProcess(tmp_path, "smoothing", *LONG, **environment) as study:
        event = study.wait_for(lambda event: event["event"] == "progressed")
        os.kill(event["pid"], signal.SIGKILL)
        assert study.wait() == 0, study.report()
    (retried,) = [event for event in study.events if event["event"] == "retried"]
    assert (retried["trial_id"], retried["error"]) == (event["trial_id"], "Tune gave no reason")
    log = (tmp_path / "results" / "smoothing" / "events.jsonl").read_text().splitlines()
    times = ("time", "arrived_s")
    told = [
        {name: value for name, value in event.items() if name not in times}
        for event in study.events
        if "time" in event
    ]
    logged = [json.loads(line) for line in log]
    assert [event.pop("time") for event in logged] == sorted(
        json.loads(line)["time"] for line in log
    )
    assert logged == told
    assert {event["event"] for event in told} == {
        "begin",
        "started",
        "progressed",
        "retried",
        "ended",
    }


# With PYTHONOPTIMIZE Python first compiles all libraries anew.
@pytest.mark.parametrize(
    ("variable", "value"), [("PYTHONWARNINGS", "error"), ("PYTHONOPTIMIZE", "2")]
)
@pytest.mark.proof
def test_a_ray_that_cannot_start_is_one_message(variable: str, value: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tune_distill.study", "smoothing", *SMALL, "--json"],
        cwd=tmp_path,
        env=os.environ | {variable: value},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: Ray: must start on this machine, got: ")
    assert f"unset {variable}, or see Ray's logs in " in last
    assert "session_latest/logs/raylet.err" in last
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
@pytest.mark.proof
def test_a_ray_that_dies_at_its_start_is_one_message(name: str, tmp_path: Path) -> None:
    with StudyProcess(tmp_path, "smoothing", *SMALL) as study:
        wait_until(lambda: _has_begun(study, name), f"a {name}")
        os.kill(_of_ray(study, name)[0].pid, signal.SIGKILL)
        assert study.wait() == 2, study.report()
    # Ray itself waits 30 s for either process, and does not name it.
    (line,) = [line for line in study.errors.splitlines() if line.startswith("error: ")]
    assert f"got: its process {name} (pid " in line


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
@pytest.mark.proof
def test_a_ray_that_dies_in_the_middle_ends_the_study_with_what_is_complete(
    name: str, tmp_path: Path
) -> None:
    with StudyProcess(tmp_path, "smoothing", *LONG, "--max-concurrent", "1") as study:
        study.wait_for(lambda event: event["event"] == "ended")
        event = study.wait_for(lambda event: event["event"] == "progressed")
        # Workers have the niceness of the command.
        assert _niceness(event["pid"]) == _niceness(0)
        os.kill(_of_ray(study, name)[0].pid, signal.SIGKILL)
        study.wait_for(lambda event: event["event"] == "ended")
        assert study.wait() == 1, study.report()
    end = study.events[-1]
    assert (end["event"], end["complete"], end["failed"]) == ("end", 1, 2)
    (line,) = [line for line in study.errors.splitlines() if line.startswith("ERROR: ")]
    assert re.search(rf"got: its process {name} .*; give the same command again to go on", line)
    assert (tmp_path / "results" / "smoothing" / "trials.parquet").is_file()


def _has_begun(study: StudyProcess, name: str) -> bool:
    assert study.process.poll() is None, study.report()
    return bool(_of_ray(study, name))


def _of_ray(study: StudyProcess, name: str) -> list[Process]:
    """Return the study's child processes that run this program of Ray's."""
    return [
        process
        for process in processes()
        if process.parent == study.process.pid and Path(process.command.split("\0")[0]).name == name
    ]


def _niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


@pytest.mark.proof
def test_workers_have_the_niceness_that_was_asked_for(tmp_path: Path) -> None:
    with StudyProcess(tmp_path, "smoothing", *LONG, "--nice", "7") as study:
        event = study.wait_for(lambda event: event["event"] == "progressed")
        assert _niceness(event["pid"]) == max(7, _niceness(0))


TWICE = """
import gc, logging, os, signal, sys
from tune_distill.study import main

def state():
    # What Ray sets when it is imported, which is once, is not looked at.
    loggers = [logging.getLogger(name).level for name in ("ray.tune", "tune_distill")]
    handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    collector = gc.isenabled(), gc.get_freeze_count()
    # scikit-learn sets KMP_ variables when it is imported.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "KMP_"}
    return environment, loggers, handlers, collector, str(sys.excepthook)

states = [state()]
for name in ("one", "two"):
    assert main(["smoothing", "--results", name, "--quiet", *sys.argv[1:]]) == 0
    states.append(state())
for later in states[1:]:
    for before, after in zip(states[0], later):
        assert before == after, (before, after)
print("as before")
"""


@pytest.mark.proof
def test_a_second_study_in_the_process_works_like_the_first(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, *SMALL], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "as before"
    assert_same_tables(tmp_path / "two", tmp_path / "one")


def test_this_machines_ray_works_and_ends_with_its_block() -> None:
    import ray

    for _ in range(2):
        with running_ray(None) as nodes:
            assert [node["CPU"] > 0 for node in nodes] == [True]
            assert ray.get(ray.remote(lambda: json.dumps(6 * 7)).remote()) == "42"
        assert not ray.is_initialized()
