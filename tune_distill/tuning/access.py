"""Token authentication: a token is sent only to clusters that require one.

We find out by a request whether a cluster requires a token. A driver that uses a token on a cluster
without authentication can join, but its workers are refused, and its actors die.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from tune_distill.spec.errors import ClusterError
from tune_distill.spec.redaction import keep_secrets_of
from tune_distill.tuning.cluster_token import COPY, Token, find_token

_TIMEOUT_S = 10.0
_MODE = "RAY_AUTH_MODE"
_REFUSED = (401, 403)

_MOST_BYTES = 2**16
"""The most bytes that are read of a dashboard's answer, which is short if it is Ray's."""


def dashboard_headers(url: str) -> dict[str, str]:
    """Return the headers for requests to the dashboard at `url`: a token if it requires one.

    Raises:
        ClusterError: no dashboard of Ray answers there, or this machine lacks the required token.
    """
    keep_secrets_of(url)
    status, content = _get(url, {})
    headers: dict[str, str] = {}
    if status in _REFUSED:
        token = _required_token(url)
        headers = token.headers
        status, content = _get(url, headers)
        if status in _REFUSED:
            raise _wrong(url, token)
    if status != 200 or "ray_version" not in _json_object(content):
        raise ClusterError(
            f"--address: the dashboard of a Ray cluster must answer at {url}, got HTTP status "
            f"{status} from something else; name the head's, by default http://HEAD:8265"
        )
    return headers


def let_in(address: str) -> str:
    """Prepare this process to join the cluster at `address`; return its HOST:PORT.

    If the cluster requires a token, this turns authentication on for this process. It never turns
    authentication off.

    Raises:
        ClusterError: the token is missing or wrong, or RAY_AUTH_MODE forbids authentication.
    """
    address = _found(address)
    mode = os.environ.get(_MODE, "").lower()
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        # The cluster answers nothing without its certificates, so rely on Ray's own settings.
        return address
    if _asks_for_token(address, {}):
        _require_mode(address, mode)
        token = _required_token(address)
        if _asks_for_token(address, token.headers):
            raise _wrong(address, token)
        _authenticate()
    elif mode == "token":
        raise ClusterError(
            f"{_MODE}: must not be 'token' for a cluster that asks for none, as the one at "
            f"{address}: its workers could not report to a driver that does; unset {_MODE}"
        )
    return address


def _required_token(where: str) -> Token:
    token = find_token()
    if token is None:
        raise ClusterError(
            f"--address: the Ray cluster at {where} asks for a token, got none from "
            f"RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or {Path.home() / '.ray' / 'auth_token'}; {COPY}"
        )
    return token


def _wrong(where: str, token: Token) -> ClusterError:
    return ClusterError(
        f"--address: the token must be that of the Ray cluster at {where}, got another one from "
        f"{token.source}; {COPY}"
    )


def _require_mode(address: str, mode: str) -> None:
    if mode not in ("", "token"):
        raise ClusterError(
            f"{_MODE}: must be 'token' for a cluster that asks for one, as the one at {address}, "
            f"got {os.environ[_MODE]!r}; unset it"
        )


def _get(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return the status and content of the dashboard's answer to /api/version."""
    request = urllib.request.Request(f"{url}/api/version")
    for name, value in headers.items():
        # Do not send the token to the target of a redirection.
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return answer.status, _content(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _content(error)
    # ValueError: the URL is invalid. HTTPException: the answer is not HTTP.
    except (OSError, ValueError, http.client.HTTPException) as error:
        # An HTTPException quotes the bytes of the answer, so do not show its text.
        spoken = isinstance(error, OSError)
        reason = (
            (getattr(error, "reason", None) or error) if spoken else "an answer that is no HTTP"
        )
        raise ClusterError(
            f"--address: the dashboard of a Ray cluster must answer at {url}, got: {reason}; "
            "check the address, and that the head's dashboard can be reached from here"
            # Do not chain the error, which may quote the token.
        ) from None


def _content(answer: Any) -> bytes:
    """Return the body of an answer, truncated after `_MOST_BYTES` bytes or `_TIMEOUT_S` seconds."""
    give_up_s = time.monotonic() + _TIMEOUT_S
    content = b""
    while time.monotonic() < give_up_s and len(content) < _MOST_BYTES:
        part = answer.read1(_MOST_BYTES)
        if not part:
            break
        content += part
    return content[:_MOST_BYTES]


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _found(address: str) -> str:
    """Return HOST:PORT for "auto", and any other address unchanged.

    Ray itself would send its token to whatever cluster "auto" finds.
    """
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ClusterError(f"--address: must be HOST:PORT or 'auto', got {address!r}")
        return address
    from tune_distill.tuning.compat import found_head

    return found_head()


def _asks_for_token(address: str, headers: Mapping[str, str]) -> bool:
    """Return whether the cluster refuses a request with only these headers.

    Raises:
        ClusterError: no head of Ray answers; Ray itself would try to join for minutes.
    """
    # Ray's own connections ignore proxies.
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options=options) as channel:
        check = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            check(b"", timeout=_TIMEOUT_S, metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return True
            raise ClusterError(
                f"--address: the head of a Ray cluster must answer at {address}, got "
                f"{error.code().name}; name its HOST:PORT, by default 6379, not the dashboard's"
            ) from error
    return False


def _authenticate() -> None:
    """Turn authentication on for this process and those that it starts."""
    from tune_distill.tuning.compat import read_settings_again

    was_on = os.environ.get(_MODE, "").lower() == "token"
    os.environ[_MODE] = "token"
    if not read_settings_again() and not was_on:
        raise ClusterError(
            f"{_MODE}: must be 'token' before this command starts, because this version of Ray "
            f"cannot turn authentication on later; set it and give the command again"
        )
