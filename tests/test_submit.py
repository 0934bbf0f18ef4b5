"""Studies as jobs: the command's arguments and words, and a cluster that it is really used on."""

from __future__ import annotations

import argparse
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
from tests.processes import wait_until
from tests.test_study import SMALL
from tests.tiny import mini_examples, write_csv
from tune_distill import submit
from tune_distill.cli import options as study_arguments
from tune_distill.cli import submit_options
from tune_distill.cli.options import parse_arguments
from tune_distill.cli.submit_options import parse_submit_arguments, study_command, study_options
from tune_distill.tuning.jobs import STUDY, Job, Purpose

URL = "http://head:8265"


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    """An environment that says nothing of Ray."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)


def refused(capsys, *arguments):
    """The message that argparse prints before it exits with code 2."""
    with pytest.raises(SystemExit) as caught:
        parse_submit_arguments(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: python -m tune_distill.submit")
    return printed.err.splitlines()[-1].partition("error: ")[2]


class TestArguments:
    def test_a_study_and_an_address_are_enough(self):
        given = parse_submit_arguments(["smoothing", "--address", URL])
        assert (given.command, given.studies, given.url) == ("study", ["smoothing"], URL)
        assert (given.detach, given.json, given.quiet) == (False, False, False)
        options = study_options(given)
        expected = ["smoothing", "--address=auto", f"--results={submit_options.RESULTS}"]
        assert options == parse_arguments(expected)

    def test_every_study_option_is_taken_on(self):
        flags = {
            flag for action in study_arguments._parser()._actions for flag in action.option_strings
        }
        ours = {
            flag
            for action in submit_options._study_parser()._actions
            for flag in action.option_strings
        }
        assert flags <= ours

    def test_the_study_command_is_what_was_asked_for(self):
        line = (
            "smoothing ./my.yaml --profile p.yaml --student S --data D --seeds 3 --set a=1 "
            "--set=-b=2 --store s3://bucket/store --no-reuse --cpus-per-trial 1.5 "
            "--gpus-per-trial 0.25 --memory-per-trial 2GiB --max-concurrent 4 --quiet --json"
        )
        given = parse_submit_arguments([*line.split(), "--results", "/r s", "--address", URL])
        command = study_command(study_options(given))
        assert command[:3] == ["python", "-m", "tune_distill.study"]
        expected = [*line.split(), "--results", "/r s", "--address", "auto"]
        assert parse_arguments(command[3:]) == parse_arguments(expected)

    @pytest.mark.parametrize("flag", ["--list", "--dry-run", "--explain"])
    def test_what_runs_nothing_is_not_for_a_cluster(self, capsys, flag):
        told = refused(capsys, "smoothing", flag, "--address", URL)
        assert told == f"{flag} runs nothing: use python -m tune_distill.study {flag}"

    @pytest.mark.parametrize("arguments", [[], ["all", "smoothing"]])
    def test_which_studies_must_be_clear(self, capsys, arguments):
        told = refused(capsys, *arguments, "--address", URL)
        assert told.startswith(
            "'all' stands alone" if arguments else "name a study, 'all', a study"
        )

    @pytest.mark.parametrize("flag", ["--results", "--store", "--student", "--data"])
    @pytest.mark.parametrize(
        "place", ["sftp://u:secret@h/x", "https://h/x?sig=secret", "s3://b/hf_secret_secret"]
    )
    def test_passwords_stay_here(self, capsys, monkeypatch, flag, place):
        monkeypatch.setenv("HF_TOKEN", "hf_secret_secret")
        told = refused(capsys, "smoothing", "--address", URL, f"{flag}={place}")
        assert told.startswith(f"{flag}: must be without a password or token")
        assert "secret" not in told

    def test_an_address_is_shown_without_its_password(self, capsys):
        told = refused(capsys, "smoothing", "--address", "ftp://u:secret@head:8265")
        assert "ftp://u:***@head:8265" in told
        assert "secret" not in submit._ways_on("a", "http://u:secret@head:8265")
        assert "secret" not in submit._ending(made_job(), "http://u:secret@head:8265")

    @pytest.mark.parametrize("flag", ["--results", "--store"])
    @pytest.mark.parametrize("place", ["results", "./results", "../results", ""])
    def test_places_must_mean_something_on_the_cluster(self, capsys, flag, place):
        told = refused(capsys, "smoothing", "--address", URL, f"{flag}={place}")
        rule = "must be a URI, or a path from / or ~ on the cluster's head"
        assert told == f"{flag}: {rule}, got {place!r}"

    @pytest.mark.parametrize("place", ["/r", "~/r", "s3://bucket/r", "file:///r"])
    def test_places_that_do(self, place):
        given = parse_submit_arguments(["smoothing", "--address", URL, "--results", place])
        assert study_options(given).results == place

    @pytest.mark.parametrize("command", ["status", "logs", "stop", "fetch"])
    def test_commands_take_a_job_or_none(self, command):
        assert parse_submit_arguments([command, "--address", URL]).job is None
        given = parse_submit_arguments([command, "smoothing-1", "--address", URL])
        assert (given.command, given.job, given.url) == (command, "smoothing-1", URL)

    def test_the_environment_may_name_the_address(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "http://second:1/")
        assert parse_submit_arguments(["status"]).url == "http://second:1"
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://first:1")
        assert parse_submit_arguments(["status"]).url == "https://first:1"
        assert parse_submit_arguments(["status", "--address", URL]).url == URL

    def test_a_drivers_address_is_no_dashboards(self, capsys, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        told = refused(capsys, "status")
        assert told == "--address: name the head's dashboard, for example http://HEAD:8265"

    @pytest.mark.parametrize(
        "address", ["head:8265", "10.0.0.1", "ray://head:10001", "http://", ""]
    )
    def test_an_address_must_be_a_url(self, capsys, address):
        told = refused(capsys, "smoothing", f"--address={address}")
        rule = "must be the URL of the head's dashboard, as http://HEAD:8265"
        assert told == f"--address: {rule}, got {address!r}"

    @pytest.mark.parametrize("arguments", [[], *([name] for name in submit_options.COMMANDS)])
    def test_help_imports_nothing_heavy(self, arguments):
        heavy = {"aiohttp", "grpc", "pandas", "pyarrow", "ray", "rich", "torch", "transformers"}
        script = (
            "import runpy, sys\n"
            f"sys.argv = ['submit', *{arguments!r}, '--help']\n"
            "try:\n    runpy.run_module('tune_distill.submit', run_name='__main__')\n"
            "except SystemExit as end:\n    assert not end.code\n"
            f"print('heavy:', *sorted({heavy!r} & set(sys.modules)), file=sys.stderr)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stderr.split() == ["heavy:"]
        assert "--address URL" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["smoothin"], "smoothin: no such study; did you mean 'smoothing'?"),
        (["smoothing", "--set=train.num_epoch=1"], "--set: unknown field 'train.num_epoch'"),
        (["smoothing", "--profile=./no.yaml"], "./no.yaml: no such profile file"),
    ],
)
def test_what_is_wrong_with_a_study_is_told_before_anyone_is_asked(capsys, arguments, told):
    # Nothing listens there.
    assert submit.main([*arguments, "--address", "http://127.0.0.1:9"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {told}")


def made_job(state="succeeded", exit_code=0, **fields):
    purpose = Purpose(STUDY, ("smoothing", "decoding"), "~/r", None, "0.1.0")
    made = {
        "id": "studies-1",
        "purpose": purpose,
        "state": state,
        "command": "python -m tune_distill.study smoothing decoding",
        "started_s": 1_800_000_000.0,
        "ended_s": 1_800_000_075.0,
        "exit_code": exit_code,
        "message": "",
    }
    return Job(**made | fields)


class MadeJobs:
    """Stands for the jobs of a cluster: one, whose log is this."""

    url = URL

    def __init__(self, job, lines=()):
        self.job, self.lines = job, lines

    def studies(self):
        return [self.job]

    def study(self, job_id):
        return self.job

    def now(self, job_id):
        return self.job

    def follow(self, job_id):
        for line in self.lines:
            if line is None:
                raise KeyboardInterrupt
            yield line


@pytest.fixture
def run_on(monkeypatch):
    """Runs a command on a cluster with this job."""

    def run(job, lines, *arguments):
        monkeypatch.setattr(submit, "_jobs", lambda given: MadeJobs(job, lines))
        return submit.main([*arguments, "--address", URL])

    return run


PREAMBLE = [
    "2026-11-23 11:05:12,357\tINFO job_manager.py:581 -- Runtime env is setting up.",
    "Running entrypoint for job studies-1: python -m tune_distill.study smoothing",
]


class TestWatching:
    @pytest.mark.parametrize(
        ("state", "exit_code", "ours", "told"),
        [
            ("succeeded", 0, 0, "studies-1 succeeded\ntables: python -m tune_distill.submit fetch"),
            ("failed", 1, 1, "studies-1 failed in part, as it says; submit the same again"),
            ("failed", 2, 2, "studies-1 could not run, as it says\n"),
            ("failed", 127, 1, "could not run: the head's PATH must lead to the python that Ray"),
            ("failed", -9, 1, "studies-1 failed: It was killed.\n"),
            ("failed", None, 1, "studies-1 failed: It was killed.\n"),
            (
                "stopped",
                None,
                1,
                "are kept in ~/r/.store: submit the same again to go on\ntables: ",
            ),
        ],
    )
    def test_the_end_is_told_and_is_the_exit_code(
        self, run_on, capsys, state, exit_code, ours, told
    ):
        job = made_job(state, exit_code, message="It was killed.")
        assert run_on(job, [*PREAMBLE, "started"], "logs", "--follow") == ours
        printed = capsys.readouterr().out
        assert printed.startswith("started\n")
        assert told in printed

    def test_an_interrupt_only_stops_looking(self, run_on, capsys):
        assert run_on(made_job("running"), ["started", None], "logs", "--follow") == 1
        printed = capsys.readouterr()
        assert printed.out == "started\n"
        assert "studies-1 goes on\n" in printed.err
        for command in ("logs --follow", "stop", "fetch"):
            assert (
                f"python -m tune_distill.submit {command} studies-1 --address {URL}" in printed.err
            )

    def test_events_and_words_part(self, capsys):
        given = argparse.Namespace(json=True, quiet=False)
        for line in (*PREAMBLE, '{"event": "end"}', "UserWarning: something"):
            submit._show(line, given)
        submit._tell("submitted", given)
        printed = capsys.readouterr()
        assert printed.out == '{"event": "end"}\n'
        assert printed.err == "UserWarning: something\nsubmitted\n"


class TestStatus:
    def test_all_are_a_table(self, run_on, capsys, monkeypatch):
        monkeypatch.setenv("TZ", "UTC")
        assert run_on(made_job(), [], "status") == 0
        head, row = capsys.readouterr().out.splitlines()
        assert re.split(r"  +", head) == ["job", "studies", "state", "started", "took"]
        assert re.split(r"  +", row)[:3] == ["studies-1", "smoothing, decoding", "succeeded"]
        assert row.endswith("  1 min 15 s")

    def test_one_is_told_in_detail(self, run_on, capsys):
        assert run_on(made_job("failed", 1, message="Why."), [], "status", "studies-1") == 0
        told = dict(
            re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()
        )
        assert told["exit code"] == "1"
        assert (told["message"], told["version"], told["took"]) == ("Why.", "0.1.0", "1 min 15 s")
        assert (told["results"], told["store"]) == ("~/r", "~/r/.store")

    def test_programs_get_json(self, run_on, capsys):
        assert run_on(made_job("running", None, ended_s=None), [], "status", "--json") == 0
        [job] = json.loads(capsys.readouterr().out)
        assert (job["id"], job["state"], job["ended_s"]) == ("studies-1", "running", None)
        assert job["purpose"]["studies"] == ["smoothing", "decoding"]


def test_what_has_ended_is_not_stopped(run_on, capsys):
    assert run_on(made_job(), [], "stop") == 0
    assert capsys.readouterr().out == "studies-1 has ended already: succeeded\n"


@pytest.fixture(scope="module")
def cluster():
    """A head that runs no trials and asks for a token, and a node that runs them."""
    with pytest.MonkeyPatch.context() as patch:
        # A job says `python`, as all that is written for Ray does.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        with Cluster(num_cpus=0, dashboard=True) as started:
            started.add_node(num_cpus=2)
            yield started


class Laptop:
    """A machine that has a home, a working directory and a copy of the cluster's token."""

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


# More steps than the others take, so that there is a middle to stop in.
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

        # The same again, from a machine that has another token too, finds what was made.
        again = laptop.run(
            "smoothing",
            *SMALL,
            "--json",
            RAY_AUTH_TOKEN=cluster.token_path.read_text(),
            RAY_ADDRESS="10.0.0.1:6379",
        )
        events = [json.loads(line) for line in again.stdout.splitlines()]
        assert again.returncode == 0
        assert [event["event"] for event in events] == ["submitted", "verdict", "end"]
        assert (events[-1]["trainings"], events[-1]["reused"]) == (0, 3)

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
    def test_a_study_is_left_alone_stopped_and_gone_on_with(self, laptop):
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
    def test_the_users_files_and_directories_travel(self, laptop, tiny_student):
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
        # What they are is their content: the same study here would be the same runs.
        plan = laptop.run("own.yaml", *sources, *SMALL, "--explain", "--json", module="study")
        assert plan.returncode == 0
        assert list(trials["num_train"]) == [48, 48]

    @pytest.mark.proof
    def test_how_a_study_ends_is_the_exit_code(self, laptop):
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

    def test_a_reader_may_have_enough(self, laptop):
        process = laptop.start("status")
        process.stdout.close()
        with closing(process.stderr):
            assert process.stderr.read() == ""
        # As if all had been read.
        assert process.wait() == 0
