"""Where a study ran: versions, code and machine, for readers who repeat it."""

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
    """The fields of `environment.json` that a report shows."""

    python: str
    packages: dict[str, str | None]
    git_commit: str | None
    platform: str
    num_cpus: int | None


def environment() -> dict[str, Any]:
    """Return the versions of libraries, the package's git commit if known, and the machine."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
    }


def environment_text(hardware: dict[str, Any]) -> str:
    """Return the content of `environment.json`; `hardware` adds fields known to the caller only."""
    return json.dumps(environment() | hardware, indent=2) + "\n"


def read_environment(path: Path) -> Environment:
    """Read an `environment.json`.

    Raises:
        StoreError: the file is missing, truncated, or has another format.
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
    """Return whether the path exists but is not a readable `environment.json`."""
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
    """Return the commit of the clone that the package runs from, with + if files were changed."""
    package = Path(__file__).resolve().parents[1]
    root, travelled = package.parent, package / "commit.txt"
    if travelled.is_file():
        # The commit of the clone from which this copy was submitted.
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
