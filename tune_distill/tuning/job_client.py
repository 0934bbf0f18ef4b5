"""Ray's client of the Jobs API, with limits on answers and with our errors."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp

from tune_distill.spec.errors import ClusterError
from tune_distill.spec.redaction import redacted

_REQUEST_TIMEOUT_S = 60.0

_ANSWER_BYTES = 256 * 2**20
"""The most bytes of one answer, which may be a job's whole log."""

_ANSWER_S = 300.0
"""The most seconds from an answer's beginning to its end."""


def job_client(url: str, headers: dict[str, str]) -> Any:
    """Return Ray's client of the Jobs API at `url`, with limits on the size and time of answers.

    Raises:
        ClusterError: no Jobs API answers there.
    """
    with explained(), _only_address(url):
        from ray.job_submission import JobSubmissionClient

        for module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
        # With RAY_AUTH_MODE=token the client would add a token that the cluster does not require;
        # this header prevents it.
        client = JobSubmissionClient(url, headers={"authorization": "", **headers})
    # Without limits, the client would wait for ever, read answers of any size, and follow
    # redirections with the submitted files and the token.
    from tune_distill.tuning.compat import limit_requests

    limit_requests(
        client,
        timeout=_REQUEST_TIMEOUT_S,
        allow_redirects=False,
        stream=True,
        hooks={"response": _limit},
    )
    return client


@contextmanager
def _only_address(url: str) -> Iterator[None]:
    """Unset, in the block, two variables that Ray's client prefers to its argument."""
    name = "RAY_API_SERVER_ADDRESS"
    before = os.environ.get(name)
    os.environ[name] = url
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _limit(response: Any, **_: Any) -> None:
    response.raw = _Limited(response.raw)


class _Limited:
    """Wraps the raw response that `requests` reads, and limits its size and time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def stream(self, *arguments: Any, **options: Any) -> Iterator[bytes]:
        """Yield the body in parts.

        Raises:
            ClusterError: the body is too long, or takes too long.
        """
        give_up_s, left = time.monotonic() + _ANSWER_S, _ANSWER_BYTES
        for part in self._raw.stream(*arguments, **options):
            left -= len(part)
            if left < 0 or time.monotonic() > give_up_s:
                raise ClusterError(
                    f"--address: an answer of the Jobs API must end after {_ANSWER_BYTES >> 20} "
                    f"MiB and {_ANSWER_S:g} s, got more; check that a Ray cluster answers there"
                )
            yield part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors of Ray's client in the block into a ClusterError in one line."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    # requests raises OSErrors, pydantic ValueErrors, and the client RuntimeErrors. Unexpected JSON
    # raises one of the other errors.
    except (
        aiohttp.ClientError,
        AuthenticationError,
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:
        reason = redacted(" ".join(str(error).split()))[:300] or type(error).__name__
        raise ClusterError(
            f"--address: the Jobs API of a Ray cluster must do as it is asked, got: {reason}"
        ) from error
