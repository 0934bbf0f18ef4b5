"""A hub on loopback with one student and one data set, as far as its clients need it."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHA = "c" * 40
ROWS = b"premise,hypothesis,label,explanation_1\na man,a dog,0,because\n"
FILES = {
    "student": {"config.json": b'{"model_type": "t5"}'},
    "set": {"train.csv": ROWS, "validation.csv": ROWS},
}


class Hub(BaseHTTPRequestHandler):
    """Answers for `someone/student` and `someone/set`."""

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        name = next((part for part in parts if part in FILES), "")
        files = FILES.get(name, {})
        if parts[0] == "api" and files:
            told = _tree(files) if "tree" in parts else _repository(name, files)
            self._answer(200, json.dumps(told).encode())
        elif parts[-1] in files:
            content = files[parts[-1]]
            etag = hashlib.sha256(content).hexdigest()
            self._answer(200, content, {"X-Repo-Commit": SHA, "ETag": etag})
        else:
            self._answer(404, b"", {"X-Repo-Commit": SHA, "X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def _repository(name: str, files: dict[str, bytes]) -> dict[str, Any]:
    siblings = [{"rfilename": file} for file in files]
    return {"id": f"someone/{name}", "sha": SHA, "siblings": siblings}


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": file, "size": len(content), "oid": "a" * 40}
        for file, content in files.items()
    ]


def serve(port: int) -> None:
    """Answer on this port of loopback as long as the process runs."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
