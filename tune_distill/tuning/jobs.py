"""Jobs on a Ray cluster: what its dashboard takes, tells and streams of those that are ours."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tune_distill.records.leftovers import scratch
from tune_distill.spec.errors import ClusterError
from tune_distill.tuning.access import dashboard_headers

logger = logging.getLogger(__name__)

STUDY, FETCH = "study", "fetch"

_KEY = "tune_distill"
"""Of our metadata, among whatever else a job has."""

_STOP_WAIT_S = 60
"""How long a study may take to write its tables when it is stopped; Ray gives 3 s."""

_REQUEST_TIMEOUT_S = 60.0
_POLL_S = 1.0
_SILENCE_S = 30.0
_LOST_S = 120.0


class Bundle(Protocol):
    """The files that travel with a job."""

    def write(self, archive: Path) -> None:
        """`archive` is a zip file of them."""


@dataclass(frozen=True)
class Purpose:
    """What a job of ours is for, kept in its metadata.

    `kind` is STUDY or FETCH; `results` and `store` are places on the cluster, `version` is that of
    the package that travelled.
    """

    kind: str
    studies: tuple[str, ...]
    results: str
    store: str | None
    version: str


@dataclass(frozen=True)
class Job:
    """A job of ours as the dashboard tells of it.

    `state` is pending, running, stopped, succeeded or failed; times are seconds since 1970.
    """

    id: str
    purpose: Purpose
    state: str
    command: str
    started_s: float
    ended_s: float | None
    exit_code: int | None
    message: str

    @property
    def has_ended(self) -> bool:
        return self.state in ("stopped", "succeeded", "failed")


class Jobs:
    """The jobs that this package has submitted to the cluster whose dashboard is at `url`.

    Raises:
        ClusterError: from every method, where the dashboard does not answer as it should.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = _client(url, dashboard_headers(url))

    def submit(self, command: Sequence[str], bundle: Bundle, purpose: Purpose) -> str:
        """The id of a new job that runs this command among the bundle's files."""
        name = purpose.studies[0] if len(purpose.studies) == 1 else "studies"
        prefix = "" if purpose.kind == STUDY else f"{purpose.kind}-"
        job_id = f"{prefix}{name}-{secrets.token_hex(4)}"
        with scratch() as folder:
            archive = folder / "bundle.zip"
            bundle.write(archive)
            with _explained():
                self._client.submit_job(
                    submission_id=job_id,
                    entrypoint=shlex.join(command),
                    runtime_env={
                        "working_dir": str(archive),
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S)},
                    },
                    metadata={_KEY: json.dumps(asdict(purpose))},
                )
        return job_id

    def studies(self) -> list[Job]:
        """The jobs that run or ran studies, newest first."""
        with _explained():
            listed = self._client.list_jobs()
        ours = [job for details in listed if (job := _job(details)) is not None]
        found = [job for job in ours if job.purpose.kind == STUDY]
        return sorted(found, key=lambda job: job.started_s, reverse=True)

    def study(self, job_id: str | None) -> Job:
        """The study's job of this id, or the newest one."""
        jobs = self.studies()
        for job in jobs:
            if job_id in (None, job.id):
                return job
        known = ", ".join(job.id for job in jobs[:8]) or "none"
        raise ClusterError(
            f"JOB: must be a study's job at {self.url}, got {job_id or 'none named'}; there are "
            f"{known}; python -m tune_distill.submit STUDY --address {self.url} makes one"
        )

    def now(self, job_id: str) -> Job:
        """The job as it is now."""
        with _explained():
            details = self._client.get_job_info(job_id)
        job = _job(details)
        assert job is not None, "the id is of a job of ours"
        return job

    def log(self, job_id: str) -> str:
        """What the job has printed so far."""
        with _explained():
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> Job:
        """The job, which has ended."""
        with _explained():
            self._client.stop_job(job_id)
        while not (job := self.now(job_id)).has_ended:
            time.sleep(_POLL_S)
        return job

    def clear(self, job_id: str) -> None:
        """The job has ended and is listed nowhere."""
        self.stop(job_id)
        with _explained():
            self._client.delete_job(job_id)

    def follow(self, job_id: str) -> Iterator[str]:
        """The lines that the job prints, from the first one, as they come, until it has ended.

        A connection that breaks is made again, and what was told is not told again.
        """
        num_told, line = 0, ""
        answered_s = time.monotonic()
        has_ended = False
        while not has_ended:
            try:
                # Asked first: only what is read after the end is sure to be all.
                has_ended = self.now(job_id).has_ended
                answered_s = time.monotonic()
                for text in self._texts(job_id, num_told):
                    num_told += len(text)
                    *whole, line = (line + text).split("\n")
                    yield from whole
                    answered_s = time.monotonic()
            except ClusterError:
                if time.monotonic() - answered_s > _LOST_S:
                    raise
                has_ended = False
            if not has_ended:
                time.sleep(_POLL_S)
        if line:
            yield line

    def _texts(self, job_id: str, num_told: int) -> Iterator[str]:
        """The job's log after so many characters, as it comes, until the connection ends."""
        tail = self._client.tail_job_logs(job_id)
        with asyncio.Runner() as runner:
            try:
                while True:
                    with _explained():
                        text = runner.run(_next(tail, lambda: self.now(job_id).has_ended))
                    if text is None:
                        return
                    if num_told < len(text):
                        yield text[num_told:]
                    num_told = max(0, num_told - len(text))
            finally:
                runner.run(tail.aclose())


async def _next(tail: AsyncGenerator[str, None], has_ended: Callable[[], bool]) -> str | None:
    """The next text; none at the end.

    A connection that died without a word is found out when it is silent though the job has ended.
    """
    awaited = asyncio.ensure_future(anext(tail, None))
    try:
        while not awaited.done():
            await asyncio.wait({awaited}, timeout=_SILENCE_S)
            if not awaited.done() and has_ended():
                return None
        return awaited.result()
    finally:
        if not awaited.done():
            awaited.cancel()
            await asyncio.wait({awaited})


def _client(url: str, headers: dict[str, str]) -> Any:
    # Ray's client prefers this variable, and RAY_ADDRESS, to its argument.
    os.environ["RAY_API_SERVER_ADDRESS"] = url
    with _explained():
        from ray.job_submission import JobSubmissionClient

        for module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
        # Where RAY_AUTH_MODE asks for a token and the cluster does not, it would add one, unless it
        # finds this header.
        client = JobSubmissionClient(url, headers={"authorization": "", **headers})
    from tune_distill.tuning.compat import limit_requests

    # It waits for ever where an answer does not come.
    limit_requests(client, _REQUEST_TIMEOUT_S)
    return client


def _job(details: Any) -> Job | None:
    """The job, if it is one of ours."""
    try:
        said = json.loads((details.metadata or {})[_KEY])
        purpose = Purpose(**said | {"studies": tuple(said["studies"])})
    except (KeyError, ValueError, TypeError):
        # Another's, or that of a version with other words.
        return None
    return Job(
        details.submission_id,
        purpose,
        str(details.status).lower(),
        details.entrypoint,
        details.start_time / 1000,
        details.end_time / 1000 if details.end_time else None,
        details.driver_exit_code,
        # A failed job's goes on with the end of its log.
        (details.message or "").partition("\n")[0],
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what Ray's client raises in the block into a ClusterError in one line."""
    import aiohttp
    from ray.exceptions import AuthenticationError

    try:
        yield
    # requests' own errors are OSErrors, pydantic's ValueErrors; the client raises RuntimeErrors.
    except (aiohttp.ClientError, AuthenticationError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ClusterError(
            f"--address: the Jobs API of a Ray cluster must do as it is asked, got: {reason}"
        ) from error
