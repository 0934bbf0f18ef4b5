"""Studies submitted as jobs to a real cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

import tune_distill
from tests.clusters import Cluster
from tests.guest import SMALL
from tests.processes import wait_until
from tests.tiny import mini_examples, write_csv

pytestmark = pytest.mark.usefixtures("no_ray")


@pytest.fixture(scope="module")
def cluster():
    """Start a head without CPUs that requires a token, and a node that runs trials."""
    with pytest.MonkeyPatch.context() as patch:
        # Jobs call `python`, which must be this interpreter.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        with Cluster(num_cpus=0, dashboard=True) as started:
            started.add_node(num_cpus=2)
            yield started


class Laptop:
    """A user's machine with a home, a working directory and a copy of the cluster's token."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder, self.home = cluster, folder, folder / "home"
        self.token = self.home / ".ray" / "auth_token"
        self.token.parent.mkdir(parents=True)
        self.token.write_text(cluster.token_path.read_text() + "\n")

    def start(self, *arguments, module="submit", **environment):
        ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        if module == "submit":
            arguments = (*arguments, "--address", self.cluster.dashboard)
        return subprocess.Popen(
            [sys.executable, "-m", f"tune_distill.{module}", *arguments],
            cwd=self.folder,
            env=ours | {"HOME": str(self.home)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def jobs(self):
        return json.loads(self.run("status", "--json").stdout)


@pytest.fixture
def laptop(cluster, tmp_path):
    return Laptop(cluster, tmp_path)


# More steps than the other studies, so that there is time to stop it in the middle.
LONG = [*SMALL, "--set=data.num_train=480", "--set=train.num_epochs=20"]


@pytest.mark.slow
class TestOnACluster:
    def test_a_study_is_submitted_and_its_tables_fetched(self, laptop, cluster):
        done = laptop.run("smoothing", *SMALL)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        job_id = lines[0].split()[1].rstrip(";")
        assert lines[0] == f"submitted {job_id}; results go to ~/tune_distill/results there"
        assert "3 trials to run, 2 at a time" in lines
        assert any(line.startswith("3 trials: 3 complete, 0 pruned, 0 failed") for line in lines)
        assert lines[-2] == f"{job_id} succeeded"
        assert not (laptop.folder / "results").exists()

        fetched = laptop.run(*lines[-1].split("submit ")[1].split()[:2])
        assert (fetched.returncode, fetched.stderr) == (0, "")
        assert fetched.stdout.startswith("smoothing: results/smoothing/report.html\n  verdict: ")
        there = cluster.folder / "home" / "tune_distill" / "results"
        here = laptop.folder / "results"
        for name in ("trials", "history", "predictions", "examples"):
            table = pd.read_parquet(here / "smoothing" / f"{name}.parquet")
            expected = pd.read_parquet(there / "smoothing" / f"{name}.parquet")
            pd.testing.assert_frame_equal(table, expected)
        assert len(tune_distill.load("smoothing", results=here)) == 3
        assert (here / "report.html").is_file()
        assert not (here / ".store").exists()
        assert [job["id"] for job in laptop.jobs()] == [job_id]

    @pytest.mark.parametrize(
        "command", [["smoothing", "--detach"], ["status"], ["logs"], ["stop"], ["fetch"]]
    )
    def test_without_the_token_there_is_one_message(self, laptop, command):
        laptop.token.write_text("another")
        wrong = laptop.run(*command)
        laptop.token.unlink()
        missing = laptop.run(*command)
        for done, told in ((wrong, f"got another one from {laptop.token}"), (missing, "got none")):
            assert (done.returncode, done.stdout) == (2, "")
            [line] = done.stderr.splitlines()
            assert line.startswith("error: --address: ")
            assert told in line
            assert "copy the head's ~/.ray/auth_token" in line

    @pytest.mark.proof
    def test_a_study_is_left_stopped_and_resumed(self, laptop):
        done = laptop.run("smoothing", *LONG, "--detach", "--results", "~/left")
        assert done.returncode == 0
        [job_id] = re.findall("^submitted ([^;]+);", done.stdout)
        assert f"python -m tune_distill.submit stop {job_id} --address" in done.stdout

        watching = laptop.start("logs", job_id, "--follow")
        with closing(watching.stdout), closing(watching.stderr):
            seen = []
            for line in watching.stdout:
                seen.append(line)
                if line.startswith("started"):
                    break
            watching.send_signal(signal.SIGINT)
            assert f"{job_id} goes on" in watching.stderr.read(), seen
            assert watching.wait() == 1
        job = next(job for job in laptop.jobs() if job["id"] == job_id)
        assert job["state"] == "running"
        store = laptop.cluster.folder / "home" / "left" / ".store"
        wait_until(lambda: any(store.glob("runs/*/checkpoint.safetensors")), "a checkpoint")

        stopped = laptop.run("stop", job_id)
        assert stopped.returncode == 0
        assert f"{job_id} was stopped; complete trials, and checkpoints" in stopped.stdout
        assert "interrupted" in laptop.run("logs", job_id).stdout
        fetched = laptop.run("fetch", job_id, "--to", "elsewhere")
        assert fetched.returncode == 0
        trials = pd.read_parquet(laptop.folder / "elsewhere" / "smoothing" / "trials.parquet")
        assert len(trials) == 3
        assert "failed" in set(trials["state"])

    @pytest.mark.proof
    def test_the_users_files_and_directories_are_sent(self, laptop, cluster, tiny_student):
        (laptop.folder / "flan").symlink_to(tiny_student)
        for split in ("train", "validation"):
            write_csv(laptop.folder / "esnli" / f"{split}.csv", mini_examples(split, 60))
        (laptop.folder / "own.yaml").write_text(
            "name: own\nquestion: Why?\nvary: {train.label_smoothing: [0.0, 0.1]}\n"
        )
        sources = ("--student", "./flan", "--data", "esnli")
        done = laptop.run("./own.yaml", *sources, *SMALL, "--results", "~/own", "--quiet")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("2 trials: 2 complete, 0 pruned, 0 failed")
        assert laptop.run("fetch").returncode == 0
        trials = pd.read_parquet(laptop.folder / "results" / "own" / "trials.parquet")
        # Sources are identified by content, so the same study here has the same runs.
        plan = laptop.run("own.yaml", *sources, *SMALL, "--explain", "--json", module="study")
        assert plan.returncode == 0
        assert list(trials["num_train"]) == [48, 48]

        # The same command from a machine that has another token too reuses the results.
        again = laptop.run(
            "own.yaml",
            *(*sources, *SMALL, "--results", "~/own", "--json"),
            RAY_AUTH_TOKEN=cluster.token_path.read_text(),
            RAY_ADDRESS="10.0.0.1:6379",
        )
        events = [json.loads(line) for line in again.stdout.splitlines()]
        assert again.returncode == 0
        assert [event["event"] for event in events] == ["submitted", "verdict", "end"]
        assert (events[-1]["trainings"], events[-1]["reused"]) == (0, 2)

    @pytest.mark.proof
    def test_the_end_of_a_study_decides_the_exit_code(self, laptop):
        gone = laptop.run("smoothing", *SMALL, "--student", "/gone/on/the/cluster")
        assert gone.returncode == 2
        assert (
            "\nerror: student.source: must be a directory made with save_pretrained, got /gone"
            in (gone.stdout)
        )
        failing = laptop.run(
            "smoothing", *SMALL, "--set=train.learning_rate=1e30", "--results=~/failing"
        )
        assert failing.returncode == 1
        assert "failed: label_smoothing=0.0,seed=0: " in failing.stdout
        assert "failed in part, as it says" in failing.stdout
        missing = laptop.run("fetch", gone.stdout.split()[1].rstrip(";"))
        assert missing.returncode in (0, 2)

    @pytest.mark.proof
    def test_a_driver_here_finds_the_token(self, laptop, cluster):
        arguments = ("smoothing", *SMALL, "--quiet")
        named = laptop.run(*arguments, "--address", cluster.address, module="study")
        assert (named.returncode, named.stderr) == (0, "")
        assert named.stdout.startswith("3 trials: 3 complete")
        found = laptop.run(
            *arguments, "--no-reuse", "--address=auto", module="study", RAY_ADDRESS=cluster.address
        )
        assert (found.returncode, found.stderr) == (0, "")
        laptop.token.write_text("another")
        refused = laptop.run(*arguments, "--no-reuse", "--address", cluster.address, module="study")
        assert (refused.returncode, refused.stdout) == (2, "")
        [line] = refused.stderr.splitlines()
        assert line.startswith("error: --address: the token must be that of the Ray cluster at ")

    def test_the_reader_of_the_output_may_leave(self, laptop):
        process = laptop.start("status")
        process.stdout.close()
        with closing(process.stderr):
            assert process.stderr.read() == ""
        # The command succeeds although its output was not read to the end.
        assert process.wait() == 0
