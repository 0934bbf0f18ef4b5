"""Our jobs on a Ray cluster, through the Jobs API of its dashboard."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter

from tune_distill.records.leftovers import scratch
from tune_distill.records.names import require_name
from tune_distill.spec.errors import ClusterError, StoreError
from tune_distill.tuning.access import dashboard_headers
from tune_distill.tuning.job_client import explained, job_client

Result = TypeVar("Result")

STUDY, FETCH = "study", "fetch"

_KEY = "tune_distill"
"""The key of our entry in a job's metadata."""

_STOP_WAIT_S = 60
"""Seconds in which a stopped study may write its tables; Ray's default is 3 s."""

_POLL_S = 1.0
_SILENCE_S = 30.0
_LOST_S = 120.0

_LINE_CHARACTERS = 2**20
"""The longest line of a job's log; longer ones are split."""


class JobFiles(Protocol):
    """The files that travel with a job."""

    def write(self, archive: Path) -> None:
        """Write the files as a zip file to `archive`."""


@dataclass(frozen=True)
class Purpose:
    """The purpose of a job of ours, stored in its metadata, which is not trustworthy.

    `kind` is STUDY or FETCH. `results` and `store` are places on the cluster. `version` is that of
    the package that was sent along.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: str
    studies: tuple[str, ...]
    results: str
    store: str | None
    version: str


_PURPOSE = TypeAdapter(Purpose)

_YEAR_10000_MS = 253_402_300_800_000


@dataclass(frozen=True)
class Job:
    """A job of ours, as reported by the dashboard.

    `state` is pending, running, stopped, succeeded or failed. Times are in seconds since 1970.
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
    """The jobs that this package has submitted to the cluster with the dashboard at `url`.

    Raises:
        ClusterError: from every method: the dashboard does not answer as it should.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = job_client(url, dashboard_headers(url))

    def submit(self, command: Sequence[str], bundle: JobFiles, purpose: Purpose) -> str:
        """Submit a job that runs this command in a folder of the bundle's files; return its id."""
        name = purpose.studies[0] if len(purpose.studies) == 1 else "studies"
        prefix = "" if purpose.kind == STUDY else f"{purpose.kind}-"
        job_id = f"{prefix}{name}-{secrets.token_hex(4)}"
        with scratch() as folder:
            archive = folder / "bundle.zip"
            bundle.write(archive)
            with explained():
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
        """Return the jobs that run or ran studies, newest first."""
        with explained():
            listed = self._client.list_jobs()
        ours = [job for details in listed if (job := _job(details)) is not None]
        found = [job for job in ours if job.purpose.kind == STUDY]
        return sorted(found, key=lambda job: job.started_s, reverse=True)

    def study(self, job_id: str | None) -> Job:
        """Return the study's job with this id; the newest study's if it is None."""
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
        """Return the job's present state."""
        with explained():
            details = self._client.get_job_info(job_id)
        job = _job(details)
        if job is None:
            raise ClusterError(
                f"--address: the Jobs API of a Ray cluster must know {job_id} as it was submitted, "
                "got another job; give the same command again"
            )
        return job

    def log(self, job_id: str) -> str:
        """Return the output of the job so far."""
        with explained():
            text = self._client.get_job_logs(job_id)
        if not isinstance(text, str):
            raise _strange("a job's log", text)
        return text

    def stop(self, job_id: str) -> Job:
        """Stop the job, wait for its end, and return it."""
        with explained():
            self._client.stop_job(job_id)
        while not (job := self.now(job_id)).has_ended:
            time.sleep(_POLL_S)
        return job

    def clear(self, job_id: str) -> None:
        """Stop the job and remove it from all listings."""
        self.stop(job_id)
        with explained():
            self._client.delete_job(job_id)

    def follow(self, job_id: str) -> Iterator[str]:
        """Yield all lines that the job prints until it has ended, as they come.

        If the connection breaks, connect again without repeating lines.
        """
        num_told, line = 0, ""
        answered_s = time.monotonic()
        has_ended = False
        while not has_ended:
            try:
                # Ask before reading, because only a log read after the end is sure to be complete.
                has_ended = self.now(job_id).has_ended
                answered_s = time.monotonic()
                for text in self._texts(job_id, num_told):
                    num_told += len(text)
                    *whole, line = (line + text).split("\n")
                    yield from whole
                    if len(line) > _LINE_CHARACTERS:
                        # Yield a very long line in pieces instead of keeping it in memory.
                        yield line
                        line = ""
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
        """Yield the job's log after its first `num_told` characters, until the connection ends."""
        tail = self._client.tail_job_logs(job_id)
        with asyncio.Runner() as runner:
            try:
                while True:
                    with explained():
                        text = _run(runner, _next(tail, lambda: self.now(job_id).has_ended))
                    if text is None:
                        return
                    if num_told < len(text):
                        yield text[num_told:]
                    num_told = max(0, num_told - len(text))
            finally:
                _run(runner, tail.aclose())


def _run(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Return what the coroutine returns.

    Raises:
        KeyboardInterrupt: Ctrl-C came.
    """
    try:
        return runner.run(coroutine)
    except asyncio.CancelledError as error:
        # A runner that is just starting cancels the coroutine, but forgets that Ctrl-C was why.
        raise KeyboardInterrupt from error


async def _next(tail: AsyncGenerator[str, None], has_ended: Callable[[], bool]) -> str | None:
    """Return the next text; None at the end.

    If the connection is silent although the job has ended, it has died unnoticed: return None.
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


def _job(details: Any) -> Job | None:
    """Return the job if it is one of ours, and else None."""
    try:
        purpose = _PURPOSE.validate_json((details.metadata or {})[_KEY])
        # Fetching writes to folders with the studies' names.
        for study in purpose.studies:
            require_name(study, details.submission_id or "job")
    except (KeyError, ValueError, TypeError, StoreError):
        # It is another program's job, or that of a version with other metadata.
        return None
    if not isinstance(details.submission_id, str):
        # It is a driver that runs on the cluster and was not submitted as a job.
        return None
    return Job(
        details.submission_id,
        purpose,
        str(details.status).lower(),
        details.entrypoint,
        _seconds(details.start_time or 0),
        _seconds(details.end_time) if details.end_time else None,
        details.driver_exit_code,
        # The message of a failed job continues with the end of its log.
        (details.message or "").partition("\n")[0],
    )


def _seconds(milliseconds: int) -> float:
    """Return a time since 1970 in seconds; refuse times before 1970 or after the year 9999."""
    if not 0 <= milliseconds < _YEAR_10000_MS:
        raise _strange("the time of a job", milliseconds)
    return milliseconds / 1000


def _strange(what: str, got: object) -> ClusterError:
    return ClusterError(
        f"--address: the Jobs API of a Ray cluster must tell {what}, got {got!r:.80}; give the "
        "same command again"
    )
