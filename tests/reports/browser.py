"""A headless Chromium that opens a page from disk, without a network, and reports what it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, _NAMES) if path), None)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # Timers run ahead, so that the page is dumped as it is after this many milliseconds.
    "--virtual-time-budget=20000",
    "--dump-dom",
)

# Wait until the page's charts are drawn, then leave what the script returns in the document.
_PROBE = """
<script>
(async () => {
  const settled = () => [...document.querySelectorAll(".chart")].every(
    (place) => place.querySelector("svg") || place.textContent.trim());
  const pause = () => new Promise((done) => setTimeout(done, 50));
  for (let waits = 0; waits < 200 && !settled(); waits++) await pause();
  const seen = document.createElement("pre");
  seen.id = "seen";
  seen.textContent = JSON.stringify(await (async () => { SCRIPT })());
  document.body.append(seen);
})();
</script>
"""


@dataclass(frozen=True)
class Visit:
    """The script's result, and the lines that the page wrote to the console."""

    seen: Any
    console: list[str]


def visit(html: str, script: str, folder: Path, *, width: int = 1200, dark: bool = False) -> Visit:
    """Open the page, run the script's statements in it and return what they return."""
    page = folder / "page.html"
    page.write_text(html + _PROBE.replace("SCRIPT", script), encoding="utf-8")
    flags = [*_FLAGS, f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}"]
    if dark:
        flags.append("--blink-settings=preferredColorScheme=0")
    done = subprocess.run(
        [str(CHROMIUM), *flags, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(json.loads(unescape(found.group(1))), console)
