"""Token authentication: a token is sent only where it is required, and never turned off."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc
import pytest

from tests.tuning.dashboards import serving
from tune_distill.spec.errors import ClusterError
from tune_distill.tuning import access
from tune_distill.tuning.access import dashboard_headers, let_in

pytestmark = pytest.mark.usefixtures("home")

SECRET = "c0ffee" * 8


@contextmanager
def dashboard(secret=None, status=200, content=b'{"ray_version": "2.60.0"}', location=None):
    """Run a server that answers like Ray's; yield its URL and the tokens that it received."""
    shown = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            authorization = self.headers.get("Authorization")
            shown.append(authorization)
            code, body = status, content
            if secret is not None and authorization != f"Bearer {secret}":
                code, body = (403, b"Forbidden") if authorization else (401, b"Unauthorized")
            self.send_response(code)
            if code == 302:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with serving(Answers) as url:
        yield url, shown


@contextmanager
def dripping():
    """Run a server that answers with one byte at a time for ever; yield its URL."""
    ended = threading.Event()

    class Drips(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not ended.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drips) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


class TestDashboard:
    def test_no_token_is_sent_if_none_is_required(self, default):
        default.write_text(SECRET)
        with dashboard() as (url, shown):
            assert dashboard_headers(url) == {}
        assert shown == [None]

    def test_a_required_token_is_sent(self, default):
        default.write_text(f"{SECRET}\n")
        with dashboard(SECRET) as (url, shown):
            assert dashboard_headers(url) == {"authorization": f"Bearer {SECRET}"}
        assert shown == [None, f"Bearer {SECRET}"]

    def test_a_missing_token_is_asked_for(self, default):
        with dashboard(SECRET) as (url, _), pytest.raises(ClusterError) as caught:
            dashboard_headers(url)
        assert str(caught.value) == (
            f"--address: the Ray cluster at {url} asks for a token, got none from RAY_AUTH_TOKEN, "
            f"RAY_AUTH_TOKEN_PATH or {default}; copy the head's ~/.ray/auth_token to "
            "~/.ray/auth_token here, or set RAY_AUTH_TOKEN_PATH to the full path of a copy"
        )

    def test_a_wrong_token_is_reported_without_its_text(self, monkeypatch):
        monkeypatch.setenv("RAY_AUTH_TOKEN", "not-the-secret")
        with dashboard(SECRET) as (url, _), pytest.raises(ClusterError) as caught:
            dashboard_headers(url)
        message = str(caught.value)
        assert f"must be that of the Ray cluster at {url}, got another one from RAY_" in message
        assert "not-the-secret" not in message

    @pytest.mark.parametrize(
        ("status", "content"),
        [(404, b"{}"), (200, b"<html>"), (200, b"[1]"), (200, b"{}"), (500, b"")],
    )
    def test_another_server_is_recognised(self, status, content):
        with dashboard(status=status, content=content) as (url, _):
            expected = f"got HTTP status {status} from something else"
            with pytest.raises(ClusterError, match=expected):
                dashboard_headers(url)

    def test_a_redirection_is_not_shown_the_token(self, default):
        default.write_text(SECRET)
        with dashboard() as (elsewhere, shown):
            url = f"{elsewhere}/api/version"
            with dashboard(SECRET, status=302, location=url) as (asking, _):
                dashboard_headers(asking)
        assert shown == [None]

    @pytest.mark.parametrize(
        "content",
        [b"[" * 60_000, b'{"ray_version": ' * 4000, b"{" + b" " * 10**7 + b"}", b"null", b"\xff"],
    )
    def test_a_strange_answer_is_one_message(self, content):
        with dashboard(content=content) as (url, _), pytest.raises(ClusterError) as caught:
            dashboard_headers(url)
        assert str(caught.value).startswith(
            f"--address: the dashboard of a Ray cluster must answer at {url}"
        )
        assert len(str(caught.value)) < 500

    def test_an_endless_answer_is_given_up(self, monkeypatch):
        monkeypatch.setattr(access, "_TIMEOUT_S", 0.3)
        with dripping() as url, pytest.raises(ClusterError, match="from something else"):
            dashboard_headers(url)

    @pytest.mark.parametrize("port", ["999999", "x", "-1"])
    def test_an_invalid_url_is_one_message(self, port):
        with pytest.raises(ClusterError, match="must answer at http://127"):
            dashboard_headers(f"http://127.0.0.1:{port}")

    def test_a_token_of_two_lines_is_refused_without_its_text(self, monkeypatch):
        monkeypatch.setenv("RAY_AUTH_TOKEN", f"{SECRET}\nsecond-secret-line")
        with dashboard(SECRET) as (url, shown), pytest.raises(ClusterError) as caught:
            dashboard_headers(url)
        assert shown == [None]
        told = "".join(traceback.format_exception(caught.value))
        assert "RAY_AUTH_TOKEN: a cluster's token must be one word" in told
        assert SECRET not in told
        assert "second-secret-line" not in told

    def test_a_port_without_a_server_is_reported(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            with pytest.raises(ClusterError, match=f"must answer at {url}, got: .*refused; check"):
                dashboard_headers(url)

    def test_a_silent_server_is_reported(self, monkeypatch):
        monkeypatch.setattr(access, "_TIMEOUT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ClusterError, match=f"must answer at {url}, got: timed out; check"):
                dashboard_headers(url)

    def test_an_answer_that_is_not_http_is_not_quoted(self):
        with head() as address, pytest.raises(ClusterError, match="got: an answer that is no HTTP"):
            dashboard_headers(f"http://{address}")


@contextmanager
def head(secret=None, host="127.0.0.1"):
    """Run a server that answers like a head's GCS; yield its HOST:PORT."""

    def check_alive(request, context):
        shown = dict(context.invocation_metadata()).get("authorization")
        if secret is not None and shown != f"Bearer {secret}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""

    handlers = {"CheckAlive": grpc.unary_unary_rpc_method_handler(check_alive)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", handlers),)
    )
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"{host}:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def authenticated(monkeypatch):
    """Return the calls that turn authentication on, which must not happen in this process."""
    calls = []
    monkeypatch.setattr(access, "_authenticate", lambda: calls.append(True))
    return calls


class TestJoining:
    def test_a_cluster_without_authentication_is_joined_without_it(self, default, authenticated):
        default.write_text(SECRET)
        with head() as address:
            assert let_in(address) == address
        assert authenticated == []
        assert "RAY_AUTH_MODE" not in os.environ

    @pytest.mark.parametrize("mode", [None, "token", "TOKEN"])
    def test_a_cluster_with_authentication_is_joined_with_the_token(
        self, default, authenticated, monkeypatch, mode
    ):
        default.write_text(f"{SECRET}\n")
        if mode is not None:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with head(SECRET) as address:
            let_in(address)
        assert authenticated == [True]

    def test_a_missing_token_is_asked_for(self, default, authenticated):
        with head(SECRET) as address, pytest.raises(ClusterError, match="asks for a token, got no"):
            let_in(address)
        assert authenticated == []

    def test_a_wrong_token_is_reported(self, default, authenticated):
        default.write_text("another")
        with (
            head(SECRET) as address,
            pytest.raises(ClusterError, match=f"another one from {default}"),
        ):
            let_in(address)
        assert authenticated == []

    def test_authentication_that_the_user_turned_off_stays_off(
        self, default, authenticated, monkeypatch
    ):
        default.write_text(SECRET)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        with head(SECRET) as address, pytest.raises(ClusterError, match="got 'disabled'; unset it"):
            let_in(address)
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
        assert authenticated == []

    def test_authentication_that_the_user_turned_on_stays_on(self, default, monkeypatch):
        default.write_text(SECRET)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        with head() as address, pytest.raises(ClusterError, match="unset RAY_AUTH_MODE"):
            let_in(address)
        assert os.environ["RAY_AUTH_MODE"] == "token"

    def test_another_server_is_recognised(self):
        with dashboard() as (url, _):
            address = url.removeprefix("http://")
            with pytest.raises(ClusterError, match="got UNAVAILABLE; name its"):
                let_in(address)

    def test_with_certificates_rays_own_settings_count(self, monkeypatch, authenticated):
        monkeypatch.setenv("RAY_USE_TLS", "1")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            let_in(f"127.0.0.1:{silent.getsockname()[1]}")
        assert authenticated == []

    def test_auto_is_rays_own_address(self, monkeypatch):
        # Ray replaces 127.0.0.1 by this machine's address.
        with head(host="127.0.0.2") as address:
            monkeypatch.setenv("RAY_ADDRESS", address)
            assert let_in("auto") == address

    def test_auto_without_a_cluster_is_reported(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.2:8265")
        with pytest.raises(ClusterError, match=r"^--address: "):
            let_in("auto")

    @pytest.mark.parametrize("address", ["head", "local", "http://head", ":6379"])
    def test_an_invalid_address_is_reported(self, address):
        with pytest.raises(ClusterError) as caught:
            let_in(address)
        assert str(caught.value) == f"--address: must be HOST:PORT or 'auto', got {address!r}"
