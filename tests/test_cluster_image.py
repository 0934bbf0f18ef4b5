"""The Dockerfile of the cluster's image."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster_schemas import dockerfile
from tests.cluster_schemas.files import (
    CLUSTER,
    ROOT,
    asked_extras,
    text,
)
from tests.cluster_schemas.programs import tool


class TestDockerfile:
    def test_hadolint_accepts_it(self) -> None:
        ended = subprocess.run(
            [tool("hadolint"), CLUSTER / "Dockerfile"], capture_output=True, text=True
        )
        assert (ended.returncode, ended.stdout) == (0, "")

    def test_hadolint_refuses_a_slip(self, tmp_path: Path) -> None:
        spoilt = tmp_path / "Dockerfile"
        spoilt.write_text(text("Dockerfile").replace(" --no-install-recommends", ""))
        ended = subprocess.run([tool("hadolint"), spoilt], capture_output=True, text=True)
        assert ended.returncode == 1
        assert "DL3015" in ended.stdout

    def test_the_dockerfile_follows_our_rules(self) -> None:
        assert dockerfile.faults(text("Dockerfile")) == []

    @pytest.mark.parametrize(
        ("line", "instead", "fault"),
        [
            ("USER 1000:1000", "USER root", "the last user is a number above 0"),
            ("USER 1000:1000", "USER 0", "the last user is a number above 0"),
            ("WORKDIR /home/ray", "RUN id", "no step runs as root after it"),
            ("3.11-slim-bookworm", "latest", "a base has a tag that is a version"),
            (" --no-install-recommends", "", "apt-get takes no recommendations"),
            ("rm -rf /var/lib/apt/lists/*", "true", "apt-get leaves no lists"),
            (" --constraint constraints.txt", "", "pip takes versions from constraints.txt"),
            ("hatchling\n", "hatchling==1.33.0\n", "no version is written here"),
            ('TORCH_INDEX_URL=""', "TORCH_INDEX_URL=https://host/", "no host is named"),
            ("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=none", "nodes ask for a token"),
        ],
    )
    def test_a_slip_is_found(self, line: str, instead: str, fault: str) -> None:
        assert line in text("Dockerfile")
        assert fault in dockerfile.faults(text("Dockerfile").replace(line, instead))

    def test_the_copied_files_exist(self) -> None:
        copied = dockerfile.copied(text("Dockerfile"))
        assert {"constraints.txt", "pyproject.toml", "tune_distill"} <= set(copied)
        for name in copied:
            assert (ROOT / name).exists(), name
            assert not dockerfile.ignored(name, text("Dockerfile.dockerignore"))
            inside = f"{name}/module.py"
            assert not dockerfile.ignored(inside, text("Dockerfile.dockerignore"))

    @pytest.mark.parametrize(
        "name",
        [
            ".git/config",
            "results/smoothing/trials.parquet",
            ".env",
            "tests/tiny.py",
            "tune_distill/spec/__pycache__/keys.pyc",
            "cluster/Dockerfile",
        ],
    )
    def test_nothing_else_reaches_the_builder(self, name: str) -> None:
        assert dockerfile.ignored(name, text("Dockerfile.dockerignore"))

    def test_the_image_installs_the_projects_extras(self) -> None:
        assert asked_extras(text("Dockerfile")) == {"cluster"}

    @pytest.mark.proof
    def test_the_wheel_is_built_from_the_copied_files(self, tmp_path: Path) -> None:
        context = tmp_path / "context"
        context.mkdir()
        for name in set(dockerfile.copied(text("Dockerfile"))):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copied(ROOT / name, context / name)
        build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
        subprocess.run([sys.executable, *build, str(context)], check=True, capture_output=True)
        assert len(list(tmp_path.glob("*.whl"))) == 1
