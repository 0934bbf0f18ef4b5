"""Where a study ran: versions, code and machine, for whoever repeats it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tune_distill.records.names import read_file
from tune_distill.spec.errors import StoreError

ENVIRONMENT_FILE = "environment.json"

_MOST_BYTES = 2**24

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


class Environment(BaseModel):
    """What a report tells of the place where a study ran."""

    python: str
    packages: dict[str, str | None]
    git_commit: str | None
    platform: str
    num_cpus: int | None


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


def environment_text(hardware: dict[str, Any]) -> str:
    """The content of `environment.json`; `hardware` adds what only the caller knows."""
    return json.dumps(environment() | hardware, indent=2) + "\n"


def read_environment(path: Path) -> Environment:
    """What an `environment.json` says.

    Raises:
        StoreError: the file is cut, or not one of ours.
    """
    try:
        return Environment.model_validate_json(read_file(path.parent, path.name, _MOST_BYTES))
    except (OSError, ValidationError, StoreError) as error:
        raise StoreError(
            f"{path}: must be as tune_distill.study wrote it, got {_first_fault(error)}; "
            "copy it again, or remove it"
        ) from error


def _first_fault(error: OSError | ValidationError | StoreError) -> str:
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(str(part) for part in (*first["loc"], first["msg"]))


def is_damaged(path: Path) -> bool:
    """Whether there is an `environment.json` that cannot be read."""
    try:
        read_environment(path)
    except StoreError:
        return os.path.lexists(path)
    return False


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
