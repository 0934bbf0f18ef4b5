"""Importing and calling the package leaves all process-wide settings unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.made_studies import Studies

ROOT = Path(__file__).resolve().parents[1]


def changes(*arguments: str) -> dict[str, list[object]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.guest", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_imports_plans_and_reports_change_nothing(tmp_path: Path) -> None:
    folder = Studies(tmp_path).folder("one seed")
    assert changes("reports", str(folder.parent)) == {}


@pytest.mark.slow
def test_studies_and_reports_change_nothing(tmp_path: Path) -> None:
    assert changes("study", str(tmp_path)) == {}
