"""The submit command and the commands for jobs, on a fake cluster."""

from __future__ import annotations

import argparse
import json
import re

import pytest

from tune_distill import submit
from tune_distill.tuning.jobs import STUDY, Job, Purpose

URL = "http://head:8265"

pytestmark = pytest.mark.usefixtures("no_ray")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["smoothin"], "smoothin: no such study; did you mean 'smoothing'?"),
        (["smoothing", "--set=train.num_epoch=1"], "--set: unknown field 'train.num_epoch'"),
        (["smoothing", "--profile=./no.yaml"], "./no.yaml: no such profile file"),
    ],
)
def test_an_invalid_study_is_refused_before_any_request(capsys, arguments, told):
    # Nothing listens at this address.
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
    """A fake of the Jobs of a cluster: one job with these lines of output."""

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
    """Return a function that runs a command on a fake cluster with one job."""

    def run(job, lines, *arguments):
        monkeypatch.setattr(submit, "_jobs", lambda given: MadeJobs(job, lines))
        return submit.main([*arguments, "--address", URL])

    return run


PREAMBLE = [
    "2026-11-23 11:05:12,357\tINFO job_manager.py:581 -- Runtime env is setting up.",
    "Running entrypoint for job studies-1: python -m tune_distill.study smoothing",
]


def test_the_next_commands_are_shown_without_the_addresss_password():
    assert "secret" not in submit._ways_on("a", "http://u:secret@head:8265")
    assert "secret" not in submit._ending(made_job(), "http://u:secret@head:8265")


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
    def test_the_end_of_a_job_is_shown_and_decides_the_exit_code(
        self, run_on, capsys, state, exit_code, ours, told
    ):
        job = made_job(state, exit_code, message="It was killed.")
        assert run_on(job, [*PREAMBLE, "started"], "logs", "--follow") == ours
        printed = capsys.readouterr().out
        assert printed.startswith("started\n")
        assert told in printed

    def test_an_interrupt_stops_only_the_watching(self, run_on, capsys):
        assert run_on(made_job("running"), ["started", None], "logs", "--follow") == 1
        printed = capsys.readouterr()
        assert printed.out == "started\n"
        assert "studies-1 goes on\n" in printed.err
        for command in ("logs --follow", "stop", "fetch"):
            assert (
                f"python -m tune_distill.submit {command} studies-1 --address {URL}" in printed.err
            )

    def test_events_and_messages_go_to_different_streams(self, capsys):
        given = argparse.Namespace(json=True, quiet=False)
        for line in (*PREAMBLE, '{"event": "end"}', "UserWarning: something"):
            submit._show(line, given)
        submit._tell("submitted", given)
        printed = capsys.readouterr()
        assert printed.out == '{"event": "end"}\n'
        assert printed.err == "UserWarning: something\nsubmitted\n"


class TestStatus:
    def test_all_jobs_are_shown_as_a_table(self, run_on, capsys, monkeypatch):
        monkeypatch.setenv("TZ", "UTC")
        assert run_on(made_job(), [], "status") == 0
        head, row = capsys.readouterr().out.splitlines()
        assert re.split(r"  +", head) == ["job", "studies", "state", "started", "took"]
        assert re.split(r"  +", row)[:3] == ["studies-1", "smoothing, decoding", "succeeded"]
        assert row.endswith("  1 min 15 s")

    def test_one_job_is_shown_in_detail(self, run_on, capsys):
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


def test_an_ended_job_is_not_stopped(run_on, capsys):
    assert run_on(made_job(), [], "stop") == 0
    assert capsys.readouterr().out == "studies-1 has ended already: succeeded\n"
