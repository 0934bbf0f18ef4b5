"""A wheel, built and unpacked, works like the clone from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guest import SMALL

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel's content; dependencies come from the test environment."""
    folder = tmp_path_factory.mktemp("wheel")
    # Use this environment's hatchling, so that the test needs no network.
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
    subprocess.run([sys.executable, *install, str(wheel)], check=True, capture_output=True)
    return folder / "site"


def run(site: Path, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Put it before the editable install of this package on the path.
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def test_the_wheel_contains_the_studies(site: Path, tmp_path: Path) -> None:
    found = run(site, tmp_path, "-c", "import tune_distill; print(tune_distill.__file__)").stdout
    assert found.strip() == str(site / "tune_distill" / "__init__.py")
    here = run(site, tmp_path, "-m", "tune_distill.study", "--list").stdout
    clone = subprocess.run(
        [sys.executable, "-m", "tune_distill.study", "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert here == clone
    assert "sequence_length" in here


def test_the_wheel_runs_a_study_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    ended = run(site, tmp_path, "-m", "tune_distill.study", "smoothing", *SMALL, "--quiet")
    assert ended.stdout.startswith("3 trials: 3 complete, 0 pruned, 0 failed; 3 trainings")
    assert (tmp_path / "results" / "smoothing" / "trials.parquet").is_file()


def test_the_wheels_console_script_is_the_command(site: Path) -> None:
    script = (site / "bin" / "tune-distill").read_text(encoding="utf-8")
    assert "from tune_distill.__main__ import run" in script
