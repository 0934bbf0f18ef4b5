"""The files for operators: versions, authentication and their README."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cluster_schemas import dockerfile, kuberay
from tests.cluster_schemas.files import (
    CLUSTER,
    FILES,
    IMAGE,
    LAUNCHERS,
    MANIFESTS,
    ROOT,
    documents,
    manifest,
    pins,
    text,
    values,
)
from tests.cluster_schemas.launcher import ray_starts
from tune_distill.cli.options import parse_arguments


class TestVersions:
    def test_every_image_is_the_dockerfiles_with_the_pinned_ray(self) -> None:
        named = [
            image for name in [*LAUNCHERS, *MANIFESTS] for image in values(documents(name), "image")
        ]
        assert len(named) == 8
        assert set(named) == {IMAGE}
        for name in ("Dockerfile", "README.md"):
            assert f"--tag {IMAGE} ." in text(name)

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_the_operator_gets_the_pinned_ray(self, name: str) -> None:
        assert kuberay.cluster_of(manifest(name))["rayVersion"] == pins()["ray"]

    def test_no_other_ray_is_named(self) -> None:
        for name in FILES:
            found = re.findall(r"\bray[-:=]+(\d+\.\d+\.\d+)", text(name))
            assert set(found) <= {pins()["ray"]}, name

    def test_python_has_the_pinned_version(self) -> None:
        first = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[0]
        (python,) = re.findall(r"on Python (\d\.\d+)\.", first)
        bases = [
            rest for word, rest in dockerfile.instructions(text("Dockerfile")) if word == "FROM"
        ]
        assert all(base.startswith(f"python:{python}-slim") for base in bases)
        assert f"python{python} -m venv" in text("ray-cluster-on-premise.yaml")


class TestAuthentication:
    @pytest.mark.parametrize("name", sorted(FILES))
    def test_no_file_turns_authentication_off(self, name: str) -> None:
        # The mode is on a command line, in an ENV, or in the two lines of a pod's variable.
        modes = re.findall(r"RAY_AUTH_MODE(?:=|\s+value:\s*)[\"']?(\w*)", text(name))
        assert set(modes) <= {"token"}
        assert not re.search(r"\bdisabled\b", text(name))

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_kuberay_requires_a_token(self, name: str) -> None:
        assert kuberay.cluster_of(manifest(name))["authOptions"] == {"mode": "token"}

    @pytest.mark.parametrize("name", LAUNCHERS)
    def test_every_launched_node_has_a_token_and_requires_it(self, name: str) -> None:
        (config,) = documents(name)
        assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
        for command in ray_starts(config):
            # In a container, the image's environment turns authentication on.
            assert "RAY_AUTH_MODE=token ray start" in command or config.get("docker")


class TestReadme:
    def test_the_readme_describes_every_file(self) -> None:
        others = set(FILES) - {"README.md"}
        assert others - set(re.findall(r"\]\(([^)]+)\)", text("README.md"))) == set()

    def test_the_readmes_links_have_targets(self) -> None:
        targets = re.findall(r"\]\(([^)#]+)\)", text("README.md"))
        assert targets != []
        assert [name for name in targets if not (CLUSTER / name).exists()] == []

    @pytest.mark.parametrize("name", [name for name in FILES if "Dockerfile" not in name])
    def test_the_shown_study_commands_are_valid(self, name: str) -> None:
        shown = re.findall(r"(?:tune_distill\.(?:study|submit)|slurm\.sh) ([^|`>\n]+)", text(name))
        studies = [shlex.split(line, comments=True) for line in shown]
        # Skip submit's other commands, names in capitals in usage lines, and variables in code.
        others = ("status", "logs", "stop", "fetch", "STUDY", "--address")
        parsed = [parse_arguments(words) for words in studies if words[0] not in others]
        assert parsed != []
