"""Jobs: listed without those of others, and followed to their end despite broken connections."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from tests.clusters import Cluster
from tests.processes import wait_until
from tune_distill.cli.packing import Bundle
from tune_distill.spec.errors import ClusterError
from tune_distill.tuning import jobs as module
from tune_distill.tuning.jobs import FETCH, STUDY, Jobs, Purpose

PURPOSE = Purpose(STUDY, ("smoothing",), "~/tune_distill/results", None, "1.2.3")


def details(
    job_id="smoothing-1",
    status="RUNNING",
    start_time=1000,
    metadata=None,
    purpose=PURPOSE,
    message=None,
):
    """Return a job's details as Ray's client returns them."""
    if metadata is None:
        metadata = {"tune_distill": json.dumps(vars(purpose))}
    return SimpleNamespace(
        submission_id=job_id,
        status=status,
        entrypoint="python -m tune_distill.study smoothing",
        start_time=start_time,
        end_time=start_time + 2500 if status != "RUNNING" else None,
        driver_exit_code=0 if status == "SUCCEEDED" else None,
        metadata=metadata,
        message=message,
    )


class Client:
    """A fake of Ray's client: it lists these jobs, and streams a log in these connections in turn.

    A connection is a list of texts; a number in it ends the job, an exception breaks the
    connection, and None is silence.
    """

    def __init__(self, listed=(), connections=()):
        self.listed = list(listed)
        self.connections = list(connections)
        self.has_ended = False
        self.unreachable = False

    def list_jobs(self):
        return self.listed

    def get_job_info(self, job_id):
        if self.unreachable:
            raise ConnectionError("no route to host")
        return details(job_id, "SUCCEEDED" if self.has_ended else "RUNNING")

    async def tail_job_logs(self, job_id):
        for part in self.connections.pop(0):
            if part is None:
                self.has_ended = True
                await asyncio.Event().wait()
            elif isinstance(part, BaseException):
                raise part
            elif isinstance(part, int):
                self.has_ended = True
            else:
                yield part


def jobs_of(client):
    """Return the Jobs of a cluster with this client."""
    jobs = Jobs.__new__(Jobs)
    jobs.url, jobs._client = "http://head:8265", client
    return jobs


END = 0


class TestListing:
    def test_our_jobs_are_listed_newest_first(self):
        jobs = jobs_of(
            Client(
                [details("a", start_time=1), details("c", start_time=3), details("b", "FAILED", 2)]
            )
        )
        assert [job.id for job in jobs.studies()] == ["c", "b", "a"]
        assert jobs.studies()[0].purpose == PURPOSE

    def test_times_are_seconds(self):
        [job] = jobs_of(Client([details(status="SUCCEEDED", start_time=5000)])).studies()
        assert (job.started_s, job.ended_s, job.exit_code, job.has_ended) == (5.0, 7.5, 0, True)

    @pytest.mark.parametrize("status", ["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"])
    def test_states_are_rays_own(self, status):
        [job] = jobs_of(Client([details(status=status)])).studies()
        assert job.state == status.lower()
        assert job.has_ended == (status in ("STOPPED", "SUCCEEDED", "FAILED"))

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"job_name": "mine"},
            {"tune_distill": "not json"},
            {"tune_distill": "[]"},
            {"tune_distill": '{"kind": "study"}'},
            {"tune_distill": json.dumps({**vars(PURPOSE), "unknown": 1})},
        ],
    )
    def test_jobs_of_others_are_left_out(self, metadata):
        assert jobs_of(Client([details(metadata=metadata)])).studies() == []

    def test_a_driver_that_was_not_submitted_is_left_out(self):
        assert jobs_of(Client([details(None)])).studies() == []

    @pytest.mark.parametrize("milliseconds", [10**400, -1, 10**18])
    def test_an_impossible_time_is_one_error(self, milliseconds):
        listed = [details(start_time=milliseconds)]
        with pytest.raises(ClusterError, match="must tell the time of a job, got "):
            jobs_of(Client(listed)).studies()

    @pytest.mark.parametrize("text", [None, 5, ["line"]])
    def test_a_log_that_is_not_text_is_one_error(self, text):
        client = Client([])
        client.get_job_logs = lambda job_id: text
        with pytest.raises(ClusterError, match="must tell a job's log, got "):
            jobs_of(client).log("smoothing-1")

    def test_fetch_jobs_are_left_out(self):
        errand = Purpose(FETCH, ("smoothing",), "/r", None, "1")
        assert jobs_of(Client([details(purpose=errand)])).studies() == []

    def test_the_message_of_a_failure_excludes_its_log(self):
        told = "Job entrypoint command failed with exit code 1, last logs:\nline\nline"
        [job] = jobs_of(Client([details(status="FAILED", message=told)])).studies()
        assert job.message == "Job entrypoint command failed with exit code 1, last logs:"

    def test_the_newest_job_is_the_default(self):
        jobs = jobs_of(Client([details("a", start_time=1), details("b", start_time=2)]))
        assert jobs.study(None).id == "b"
        assert jobs.study("a").id == "a"

    @pytest.mark.parametrize(
        ("listed", "job_id", "told"),
        [
            ([], None, "got none named; there are none; python -m tune_distill.submit STUDY"),
            ([details("a"), details("b")], "c", "got c; there are a, b; python -m"),
        ],
    )
    def test_the_error_of_an_unknown_job_lists_known_ones(self, listed, job_id, told):
        with pytest.raises(ClusterError, match=re.escape(told)):
            jobs_of(Client(listed)).study(job_id)


class TestFollowing:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(module, "_POLL_S", 0.01)
        monkeypatch.setattr(module, "_SILENCE_S", 0.05)

    def follow(self, *connections):
        client = Client(connections=connections)
        lines = list(jobs_of(client).follow("a"))
        assert client.connections == []
        return lines

    def test_lines_are_joined_across_pieces(self):
        first = ["on", "e\ntwo\n", "", "thr", "ee\n", END]
        # One more connection fetches the output between the last text and the end.
        assert self.follow(first, ["one\ntwo\nthree\nfour"]) == ["one", "two", "three", "four"]

    def test_empty_lines_are_kept(self):
        assert self.follow(["\n\na\n", END], ["\n\na\n"]) == ["", "", "a"]

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
            ConnectionResetError("reset by peer"),
        ],
    )
    def test_a_broken_connection_is_made_again(self, error):
        log = "one\ntwo\nthree\n"
        lines = self.follow([log[:5], error], [log[:3], error], [log[:9], END], [log])
        assert lines == ["one", "two", "three"]

    def test_a_connection_that_ends_before_the_job_is_made_again(self):
        assert self.follow(["one\n"], ["one\n", "two\n", END], ["one\ntwo\n"]) == ["one", "two"]

    def test_a_silent_connection_is_left_when_the_job_has_ended(self):
        assert self.follow(["one\n", None], ["one\ntwo\n"]) == ["one", "two"]

    def test_a_lost_cluster_is_reported(self, monkeypatch):
        monkeypatch.setattr(module, "_LOST_S", 0.2)
        client = Client(connections=[["one\n", RuntimeError("broken")]])
        lines = jobs_of(client).follow("a")
        assert next(lines) == "one"
        client.unreachable = True
        with pytest.raises(ClusterError, match="got: no route to host"):
            next(lines)

    def test_ctrl_c_while_a_wait_starts_is_ctrl_c(self):
        # What asyncio raises then; seen under load.
        client = Client(connections=[["one\n", asyncio.CancelledError()]])
        lines = jobs_of(client).follow("a")
        assert next(lines) == "one"
        with pytest.raises(KeyboardInterrupt):
            next(lines)

    def test_following_may_be_ended_early(self):
        client = Client(connections=[["one\n", "two\n"]])
        lines = jobs_of(client).follow("a")
        assert next(lines) == "one"
        lines.close()


class Cut:
    """Forwards connections to a port until they are cut."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Break all connections; forward new ones."""
        for end in [end for pair in self._pairs for end in pair]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listening.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            pair = (near, socket.create_connection(self._target))
            self._pairs.append(pair)
            for source, target in (pair, pair[::-1]):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass_on(source, target):
        with suppress(OSError), source:
            while content := source.recv(65536):
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def cluster():
    """Start a head with a dashboard that requires a token."""
    with Cluster(dashboard=True) as started:
        yield started


@pytest.fixture
def jobs(cluster, monkeypatch):
    """Return the cluster's Jobs in an environment with the token."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_path))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:1")
    return Jobs(cluster.dashboard)


def submit(jobs, script, purpose=PURPOSE, files=None):
    return jobs.submit(["sh", "-c", script], Bundle(files or {"a.txt": b"here\n"}), purpose)


@pytest.mark.slow
# Ray's own client uses aiohttp in this deprecated way.
@pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")
class TestOnACluster:
    def test_a_job_runs_in_the_folder_of_its_files_and_reports_its_end(self, jobs, tmp_path):
        (tmp_path / "b").write_text("there\n")
        job_id = submit(
            jobs, "cat a.txt 'd/b c'; exit 2", files={"a.txt": b"a\n", "d/b c": tmp_path / "b"}
        )
        assert re.fullmatch("smoothing-[0-9a-f]{8}", job_id)
        # Ray writes lines of its own between them.
        assert [line for line in jobs.follow(job_id) if line in ("a", "there")] == ["a", "there"]
        job = jobs.now(job_id)
        assert (job.state, job.exit_code, job.purpose) == ("failed", 2, PURPOSE)
        assert jobs.study(job_id) == job
        assert "\na\nthere\n" in "\n" + jobs.log(job_id)

    def test_a_stopped_job_has_time_to_end(self, jobs):
        # By default Ray would kill the job after 3 s.
        script = (
            "trap 'sleep 5; echo written; exit 1' TERM; echo ready; while :; do sleep 0.1; done"
        )
        job_id = submit(jobs, script)
        wait_until(lambda: "\nready\n" in jobs.log(job_id), "the job's start")
        assert jobs.stop(job_id).state == "stopped"
        assert "written" in jobs.log(job_id)
        assert jobs.stop(job_id).state == "stopped"

    def test_a_cleared_job_is_not_listed(self, jobs):
        errand = Purpose(FETCH, ("smoothing", "decoding"), "/r", None, "1")
        job_id = submit(jobs, "echo done; sleep 60", errand)
        assert job_id.startswith("fetch-studies-")
        lines = jobs.follow(job_id)
        assert "done" in lines
        jobs.clear(job_id)
        assert job_id not in {details.submission_id for details in jobs._client.list_jobs()}

    def test_a_cut_connection_loses_no_line(self, jobs, cluster):
        host, _, port = cluster.dashboard.removeprefix("http://").partition(":")
        proxy = Cut(host, int(port))
        through = Jobs(proxy.url)
        job_id = submit(jobs, "for i in $(seq 1 40); do echo line $i; sleep 0.1; done")
        lines = []
        for line in through.follow(job_id):
            lines.append(line)
            if line in ("line 5", "line 20"):
                proxy.cut()
        proxy.close()
        assert [line for line in lines if line.startswith("line")] == [
            f"line {number}" for number in range(1, 41)
        ]

    def test_a_failed_request_is_one_message(self, jobs):
        with pytest.raises(
            ClusterError, match=r"must do as it is asked, got: .*404.* does not exist"
        ):
            jobs.log("gone")
