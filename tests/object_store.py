"""An S3 server (moto) on loopback in a separate process, which runs this module.

It handles one request at a time, because moto checks a condition before it writes. Only so exactly
one of several conditional writers succeeds, as S3 guarantees.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import free_port, wait_until

BUCKET = "studies"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Yield an environment in which s3://studies is an empty bucket during the block."""
    port = free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        # Requests to loopback must not use a proxy.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.object_store", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        wait_until(lambda: _answers(server, f"http://127.0.0.1:{port}"), "the S3 server")
        make_bucket(environment, BUCKET)
        yield environment
    finally:
        server.kill()
        server.wait()


def make_bucket(environment: dict[str, str], name: str) -> None:
    """Make the bucket with an unsigned request, which moto accepts."""
    url = f"{environment['AWS_ENDPOINT_URL']}/{name}"
    with _opener().open(urllib.request.Request(url, method="PUT"), timeout=30):
        pass


def _answers(server: subprocess.Popen[bytes], url: str) -> bool:
    assert server.poll() is None, f"the S3 server ended with exit code {server.returncode}"
    try:
        with _opener().open(url, timeout=30):
            return True
    except urllib.error.URLError:
        return False


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _serve(port: int) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    application = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, application, threaded=False)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
