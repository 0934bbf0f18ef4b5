"""A process that met no hub once still reaches it later; here a server on loopback is the hub."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HUB = r"""
import hashlib, json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "c" * 40
FILES = {"config.json": b'{"model_type": "t5"}'}

class Hub(BaseHTTPRequestHandler):
    def do_GET(self, body=True):
        path = self.path.split("?")[0]
        headers, content = {}, b""
        if path.startswith("/api/models/someone/student"):
            names = [{"rfilename": name} for name in FILES]
            content = json.dumps({"id": "someone/student", "sha": SHA, "siblings": names}).encode()
            if "/tree/" in path:
                content = json.dumps([
                    {"type": "file", "path": name, "size": len(data), "oid": "a" * 40}
                    for name, data in FILES.items()
                ]).encode()
        elif path.split("/")[-1] in FILES:
            content = FILES[path.split("/")[-1]]
            headers = {"X-Repo-Commit": SHA, "ETag": hashlib.sha256(content).hexdigest()}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self):
        self.do_GET(body=False)

    def log_message(self, *_):
        pass

def serve(port):
    server = ThreadingHTTPServer(("127.0.0.1", port), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
"""

SCRIPT = r"""
import json, sys
from pathlib import Path
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
sys.path.insert(0, sys.argv[2])
from hub_server import serve
from tune_distill.tasks.hub import cache_if_unreachable

said = []
for reachable in (False, True):
    if reachable:
        serve(int(sys.argv[1]))
    try:
        with cache_if_unreachable("someone/student", "model", None):
            said.append(Path(snapshot_download("someone/student")).name)
    except LocalEntryNotFoundError:
        said.append("neither hub nor cache")
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_second_study_reaches_the_hub_that_the_first_did_not(tmp_path: Path) -> None:
    (tmp_path / "hub_server.py").write_text(HUB)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(port), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["neither hub nor cache", "c" * 40]
