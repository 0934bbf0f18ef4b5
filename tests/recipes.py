"""CONTRIBUTING.md's recipes, to be followed in copies of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def recipe(title: str) -> str:
    """Return the text of the recipe with this title."""
    parts = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")
    (found,) = (part for part in parts if part.startswith(f"{title}\n"))
    return found


def repository_copy(folder: Path) -> Path:
    """Copy the package, its data and its tests into the folder; return the copied package."""
    for name in ("tune_distill", "search_spaces", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder / "tune_distill"


def register(module: Path, line: str, new: str) -> None:
    """Add a line to a registry, after one that is there."""
    text = module.read_text(encoding="utf-8")
    assert line in text
    module.write_text(text.replace(line, line + new))


def python(folder: Path, *arguments: str) -> str:
    """Run Python in a copy of the repository, and return what it printed."""
    # Options such as those that count coverage are for the repository's own tests.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def run_tests(folder: Path, *modules: str, which: str) -> None:
    """Run the modules' tests that pytest's `-k` selects by these words; all must pass."""
    python(folder, "-m", "pytest", *modules, "-k", which, "-q", "-p", "no:cacheprovider")
