"""Where a study ran: versions, code and machine, for whoever repeats it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from tune_distill.records.files import write_text

_PACKAGES = (
    "tune_distill",
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "optuna",
    "rouge-score",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "numpy",
)


def environment() -> dict[str, Any]:
    """Versions of what computes, the package's git commit in a clone, and the machine."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
    }


def write_environment(folder: Path, hardware: dict[str, Any]) -> None:
    """`environment.json` says where the study ran; `hardware` adds what only the caller knows."""
    content = environment() | hardware
    write_text(folder / "environment.json", json.dumps(content, indent=2) + "\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the clone that the package comes from, with + if files were changed."""
    package = Path(__file__).resolve().parents[1]
    root, travelled = package.parent, package / "commit.txt"
    if travelled.is_file():
        # Of the clone from which this copy was submitted.
        return travelled.read_text(encoding="utf-8").strip()
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
