"""Untrusted answers of a dashboard: each leads to a single error."""

from __future__ import annotations

import http.server
import json
import os
from contextlib import contextmanager

import pytest

from tests.tuning.dashboards import serving
from tune_distill.cli.packing import Bundle
from tune_distill.spec.errors import ClusterError
from tune_distill.tuning import job_client
from tune_distill.tuning.jobs import STUDY, Jobs, Purpose

SECRET = "c0ffee" * 8
PURPOSE = Purpose(STUDY, ("smoothing",), "~/r", None, "1")
VERSION = b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"}'


@contextmanager
def dashboard(status=200, content=b"", location=None, chunks=1):
    """Run a server that answers /api/version like Ray, and other paths as given.

    Yield its URL and the requests that it got: method, path and token.
    """
    requests = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            requests.append((self.command, self.path, self.headers.get("Authorization")))
            asked_version = self.path == "/api/version"
            self.send_response(200 if asked_version else status)
            if location and not asked_version:
                self.send_header("Location", location)
            self.end_headers()
            if asked_version:
                self.wfile.write(VERSION)
                return
            try:
                for _ in range(chunks):
                    self.wfile.write(content)
            except OSError:
                pass

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *arguments):
            pass

    with serving(Answers) as url:
        yield url, requests


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """Set the variables of Ray to the address of another cluster only."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:1")


def calls(jobs):
    """Return a call of every method that asks the cluster."""
    return [
        jobs.studies,
        lambda: jobs.study("a"),
        lambda: jobs.now("a"),
        lambda: jobs.log("a"),
        lambda: jobs.stop("a"),
        lambda: jobs.submit(["true"], Bundle({"a": b"a"}), PURPOSE),
    ]


JOB = {
    "type": "SUBMISSION",
    "submission_id": "a",
    "status": "RUNNING",
    "entrypoint": "x",
    "metadata": {"tune_distill": json.dumps(vars(PURPOSE))},
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"1",
        b'"text"',
        b"[1]",
        b"[[]]",
        b'{"a": 1}',
        b'[{"a": 1}]',
        b"[" * 50_000,
        b"\xff\xfe",
        json.dumps([{**JOB, "status": 5}]).encode(),
        json.dumps([{**JOB, "start_time": "soon"}]).encode(),
    ],
)
def test_an_answer_of_another_form_is_one_message(content):
    with dashboard(content=content) as (url, _):
        jobs = Jobs(url)
        for call in [jobs.studies, lambda: jobs.now("a"), lambda: jobs.log("a")]:
            with pytest.raises(ClusterError) as caught:
                call()
            assert len(str(caught.value)) < 700


@pytest.mark.parametrize("status", [302, 307, 400, 401, 403, 404, 500])
def test_a_refusal_is_one_message(status):
    with dashboard(status, b"x" * 10_000, "http://127.0.0.1:9/") as (url, _):
        for call in calls(Jobs(url)):
            with pytest.raises(ClusterError) as caught:
                call()
            assert len(str(caught.value)) < 700


def test_an_answer_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(job_client, "_ANSWER_BYTES", 2**20)
    with dashboard(content=b" " * 2**16, chunks=10_000) as (url, _):
        for call in calls(Jobs(url)):
            with pytest.raises(ClusterError, match="must end after 1 MiB and 300 s"):
                call()


def test_a_very_slow_answer_is_cut(monkeypatch):
    monkeypatch.setattr(job_client, "_ANSWER_S", -1.0)
    with dashboard(content=b"[]") as (url, _), pytest.raises(ClusterError, match="must end after"):
        Jobs(url).studies()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirection_is_followed(monkeypatch, status):
    """Submitted files and the token go only to the named cluster."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    with (
        dashboard() as (elsewhere, theirs),
        dashboard(status, b"moved", f"{elsewhere}/api/jobs/") as (url, _),
    ):
        for call in calls(Jobs(url)):
            with pytest.raises(ClusterError):
                call()
    assert theirs == []


def test_the_environment_stays_as_it_is():
    before = dict(os.environ)
    with dashboard(content=b"[]") as (url, _):
        assert Jobs(url).studies() == []
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "change",
    [
        {"studies": ["../other"]},
        {"studies": ["/etc"]},
        {"studies": "smoothing"},
        {"studies": [1]},
        {"results": 5},
        {"store": ["x"]},
        {"version": None},
    ],
)
def test_a_job_with_an_invalid_purpose_is_not_ours(change):
    metadata = {"tune_distill": json.dumps({**vars(PURPOSE), **change})}
    listed = json.dumps([JOB, {**JOB, "submission_id": "b", "metadata": metadata}])
    with dashboard(content=listed.encode()) as (url, _):
        assert [job.id for job in Jobs(url).studies()] == ["a"]
