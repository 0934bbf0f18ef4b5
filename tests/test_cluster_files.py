"""What an operator applies is valid by its own schema, and is what it says it is."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tune_distill
from tests.cluster_schemas import dockerfile, kuberay, launcher, slurm
from tests.cluster_schemas.files import (
    CLUSTER,
    FILES,
    IMAGE,
    LAUNCHERS,
    MANIFESTS,
    ROOT,
    Config,
    asked_extras,
    documents,
    manifest,
    pins,
    text,
    values,
)
from tests.cluster_schemas.slurm import SCRIPT
from tests.test_study import SMALL
from tune_distill.cli.options import parse_arguments
from tune_distill.cli.submit_options import RESULTS


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
    def test_the_operator_is_told_the_pinned_ray(self, name: str) -> None:
        assert kuberay.cluster_of(manifest(name))["rayVersion"] == pins()["ray"]

    def test_no_other_ray_is_named(self) -> None:
        for name in FILES:
            found = re.findall(r"\bray[-:=]+(\d+\.\d+\.\d+)", text(name))
            assert set(found) <= {pins()["ray"]}, name

    def test_python_is_the_one_of_the_pins(self) -> None:
        first = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[0]
        (python,) = re.findall(r"on Python (\d\.\d+)\.", first)
        bases = [
            rest for word, rest in dockerfile.instructions(text("Dockerfile")) if word == "FROM"
        ]
        assert all(base.startswith(f"python:{python}-slim") for base in bases)
        assert f"python{python} -m venv" in text("ray-cluster-on-premise.yaml")


class TestAuthentication:
    @pytest.mark.parametrize("name", sorted(FILES))
    def test_nobody_turns_it_off(self, name: str) -> None:
        # On a command line, in an ENV, or as the two lines of a pod's environment.
        modes = re.findall(r"RAY_AUTH_MODE(?:=|\s+value:\s*)[\"']?(\w*)", text(name))
        assert set(modes) <= {"token"}
        assert not re.search(r"\bdisabled\b", text(name))

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_kuberay_is_asked_for_a_token(self, name: str) -> None:
        assert kuberay.cluster_of(manifest(name))["authOptions"] == {"mode": "token"}

    @pytest.mark.parametrize("name", LAUNCHERS)
    def test_every_launched_node_has_one_and_asks_for_it(self, name: str) -> None:
        (config,) = documents(name)
        assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
        for command in ray_starts(config):
            # In a container the image's environment says so.
            assert "RAY_AUTH_MODE=token ray start" in command or config.get("docker")


def ray_starts(config: Config) -> list[str]:
    """The commands that start Ray: on the head, and on a worker."""
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    found = [command for command in commands if "ray start" in command]
    assert len(found) == 2
    return found


class TestLauncher:
    @pytest.mark.parametrize("name", LAUNCHERS)
    def test_ray_accepts_it(self, name: str) -> None:
        assert launcher.launcher_faults(documents(name)[0]) == []

    @pytest.mark.parametrize("name", LAUNCHERS)
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda config: config.update(head_node_typ="head"),
            lambda config: config.update(upscaling_speed="fast"),
            lambda config: config["auth"].update(ssh_usr="ubuntu"),
            lambda config: config.update(head_start_ray_commands="ray start --head"),
            lambda config: config["provider"].pop("type"),
        ],
        ids=["unknown key", "wrong type", "unknown inner key", "not a list", "no provider"],
    )
    def test_ray_refuses_a_slip(self, name: str, spoil: Callable[[Config], object]) -> None:
        config = copy.deepcopy(documents(name)[0])
        spoil(config)
        assert launcher.launcher_faults(config) != []

    def test_ray_refuses_node_types_that_do_not_add_up(self) -> None:
        (config,) = copy.deepcopy(documents(LAUNCHERS[0]))
        config["available_node_types"]["gpu_worker"]["min_workers"] = 3
        assert "smaller than the sum" in launcher.launcher_faults(config)[0]
        config["head_node_type"] = "haed"
        assert "`head_node_type` must be one of" in launcher.launcher_faults(config)[0]

    @pytest.mark.parametrize("name", LAUNCHERS)
    def test_ray_start_knows_the_options(self, name: str) -> None:
        for command in ray_starts(documents(name)[0]):
            arguments = launcher.started_with(command)
            assert len(arguments) >= 1
            assert launcher.start_faults(arguments) == []
            assert "No such option" in launcher.start_faults([*arguments, "--prot=1"])[0]

    @pytest.mark.parametrize("name", LAUNCHERS)
    def test_rays_defaults_add_no_command(self, name: str) -> None:
        """They would install Ray's nightly build over the pinned one."""
        (config,) = documents(name)
        complete = launcher.prepared(config)
        assert complete["worker_setup_commands"] == config["setup_commands"]
        assert complete["head_setup_commands"] == config["setup_commands"]
        assert not [c for c in values(complete, "setup_commands") if "://" in str(c)]

    def test_the_cloud_has_a_cpu_head_and_gpu_workers_on_spot(self) -> None:
        (config,) = documents("ray-cluster-aws.yaml")
        head, worker = (config["available_node_types"][name] for name in ("head", "gpu_worker"))
        assert head["resources"] == {"CPU": 0}
        assert "InstanceMarketOptions" not in head["node_config"]
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert worker["min_workers"] == config["max_workers"]

    def test_the_clouds_own_api_knows_the_node_configs(self) -> None:
        """By botocore's description of EC2, without a request."""
        loaders = pytest.importorskip("botocore.loaders")
        from botocore.model import ServiceModel
        from botocore.validate import ParamValidator

        model = ServiceModel(loaders.Loader().load_service_model("ec2", "service-2"))
        shape = model.operation_model("RunInstances").input_shape
        (config,) = documents("ray-cluster-aws.yaml")
        for node_type in config["available_node_types"].values():
            asked = node_type["node_config"] | {"MinCount": 1, "MaxCount": 1}
            assert not ParamValidator().validate(asked, shape).has_errors()
            wrong = asked | {"InstanceTyp": "m7i.xlarge"}
            assert ParamValidator().validate(wrong, shape).has_errors()

    def test_the_clouds_store_outlives_its_container(self) -> None:
        (config,) = documents("ray-cluster-aws.yaml")
        (volume,) = config["docker"]["head_run_options"]
        kept, inside = volume.removeprefix("-v ").split(":")
        # Where a submission writes unless told otherwise.
        assert inside == RESULTS.replace("~", "/home/ray")
        assert f"mkdir -p {kept}" in config["initialization_commands"]
        assert f"({kept})" in text("README.md").replace("`", "")

    def test_own_machines_install_what_the_project_names(self) -> None:
        (config,) = documents("ray-cluster-on-premise.yaml")
        installs = [command for command in config["setup_commands"] if "pip install" in command]
        assert len(installs) == 2
        assert all("--constraint constraints.txt" in command for command in installs)
        assert asked_extras(" ".join(installs)) == {"cluster"}
        for command in config["setup_commands"]:
            subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.mark.skipif(not kuberay.DEFINITIONS.is_dir(), reason="KubeRay's definitions are not here")
class TestKubeRaySchema:
    @pytest.mark.parametrize("name", MANIFESTS)
    def test_kuberay_accepts_it(self, name: str) -> None:
        assert kuberay.schema_faults(manifest(name)) == []

    @pytest.mark.parametrize("name", MANIFESTS)
    @pytest.mark.parametrize(
        ("key", "value"),
        [("rayStartParam", {}), ("template", {"spec": {}}), ("rayStartParams", {"num-cpus": 0})],
        ids=["unknown field", "no containers", "a number for a string"],
    )
    def test_a_slip_in_a_group_is_refused(self, name: str, key: str, value: object) -> None:
        spoilt = manifest(name)
        for group in kuberay.groups(spoilt):
            group[key] = value
        assert len(kuberay.schema_faults(spoilt)) == len(kuberay.groups(spoilt))

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_a_slip_deep_in_a_pod_is_refused(self, name: str) -> None:
        spoilt = manifest(name)
        pods = list(kuberay.pods(spoilt))
        for pod in pods:
            pod["containers"][0]["securityContext"]["alowPrivilegeEscalation"] = False
        assert len(kuberay.schema_faults(spoilt)) == len(pods)

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_a_slip_at_the_top_is_refused(self, name: str) -> None:
        spoilt = manifest(name)
        spoilt["spec"]["shutdownAfterJobFinish"] = True
        kuberay.cluster_of(spoilt)["authOptions"]["mode"] = "tokens"
        assert len(kuberay.schema_faults(spoilt)) == 2


class TestKubeRay:
    @pytest.mark.parametrize("name", MANIFESTS)
    def test_pods_may_do_as_little_as_can_be(self, name: str) -> None:
        pods = list(kuberay.pods(manifest(name)))
        assert len(pods) == (3 if name == MANIFESTS[0] else 4)
        assert [kuberay.pod_faults(pod) for pod in pods] == [[]] * len(pods)
        assert all(pod["automountServiceAccountToken"] is False for pod in pods)

    def test_a_pod_that_may_do_more_is_found(self) -> None:
        pod = next(kuberay.pods(manifest(MANIFESTS[0])))
        pod["securityContext"] |= {"runAsNonRoot": False, "runAsUser": 0}
        pod["hostNetwork"] = True
        (container,) = pod["containers"]
        del container["securityContext"]["capabilities"]
        container["securityContext"]["allowPrivilegeEscalation"] = True
        container["resources"]["requests"] = {"cpu": "1"}
        assert len(kuberay.pod_faults(pod)) == 7

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_ray_start_knows_the_options(self, name: str) -> None:
        for number, group in enumerate(kuberay.groups(manifest(name))):
            options = [f"--{key}={value}" for key, value in group["rayStartParams"].items()]
            first = "--head" if number == 0 else "--address=127.0.0.1:6379"
            assert launcher.start_faults([first, *options]) == []

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_the_head_takes_no_trials(self, name: str) -> None:
        head, *workers = kuberay.groups(manifest(name))
        assert head["rayStartParams"] == {"num-cpus": "0"}
        assert {group["groupName"] for group in workers} == {"cpu", "gpu"}

    @pytest.mark.parametrize("name", MANIFESTS)
    def test_gpus_are_an_example_that_costs_nothing(self, name: str) -> None:
        gpu = next(g for g in kuberay.groups(manifest(name)) if g.get("groupName") == "gpu")
        assert (gpu["replicas"], gpu["minReplicas"]) == (0, 0)
        (container,) = gpu["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert gpu["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"

    def test_the_clusters_store_is_on_a_volume_that_is_made(self) -> None:
        claim, cluster = documents("kuberay/raycluster.yaml")
        assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
        head = cluster["spec"]["headGroupSpec"]["template"]["spec"]
        (volume,) = head["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        (mount,) = head["containers"][0]["volumeMounts"]
        assert mount["name"] == volume["name"]
        # Without this the volume is root's, and the image's user cannot write to it.
        assert head["securityContext"]["fsGroup"] == head["securityContext"]["runAsGroup"]
        assert f"--results {mount['mountPath']}" in text("kuberay/raycluster.yaml")

    def test_the_job_runs_a_command_that_exists(self) -> None:
        spec = manifest("kuberay/rayjob.yaml")["spec"]
        python, dash_m, module, *arguments = shlex.split(spec["entrypoint"])
        assert (python, dash_m, module) == ("python", "-m", "tune_distill.study")
        options = parse_arguments(arguments)
        assert options.address == "auto"
        # The cluster goes when the job ends: nothing may be kept on it.
        assert spec["shutdownAfterJobFinishes"] is True
        assert options.results.startswith("s3://")
        assert str(options.store).startswith("s3://")

    def test_every_pod_that_runs_trials_can_open_the_store(self) -> None:
        for group in kuberay.groups(manifest("kuberay/rayjob.yaml")):
            (container,) = group["template"]["spec"]["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "tune-distill-object-store"}}]
        assert "create secret generic tune-distill-object-store" in text("kuberay/rayjob.yaml")


def tool(name: str) -> str:
    """The program, beside the interpreter or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found or pytest.skip(f"{name} is not installed")


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

    def test_it_keeps_our_rules(self) -> None:
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

    def test_what_it_copies_is_there(self) -> None:
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

    def test_it_installs_what_the_project_names(self) -> None:
        assert asked_extras(text("Dockerfile")) == {"cluster"}

    @pytest.mark.proof
    def test_the_wheel_needs_nothing_that_is_not_copied(self, tmp_path: Path) -> None:
        context = tmp_path / "context"
        context.mkdir()
        for name in set(dockerfile.copied(text("Dockerfile"))):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copied(ROOT / name, context / name)
        build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
        subprocess.run([sys.executable, *build, str(context)], check=True, capture_output=True)
        assert len(list(tmp_path.glob("*.whl"))) == 1


class TestSlurm:
    def test_bash_and_shellcheck_accept_it(self) -> None:
        subprocess.run(["bash", "-n", SCRIPT], check=True)
        ended = subprocess.run([tool("shellcheck"), SCRIPT], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (0, "")

    def test_shellcheck_refuses_a_slip(self, tmp_path: Path) -> None:
        spoilt = tmp_path / "slurm.sh"
        spoilt.write_text(text("slurm.sh").replace('rm -rf -- "$private"', "rm -rf -- $private"))
        ended = subprocess.run([tool("shellcheck"), spoilt], capture_output=True, text=True)
        assert "SC2086" in ended.stdout

    def test_slurm_reads_its_directives(self) -> None:
        """SLURM reads none after the first command."""
        before, _, after = text("slurm.sh").partition("set -euo pipefail")
        directives = re.findall(r"^#SBATCH --(\S+)$", before, re.MULTILINE)
        assert {"requeue", "no-kill", "signal=B:TERM@120", "ntasks-per-node=1"} <= set(directives)
        assert len(directives) == before.count("#SBATCH")
        assert "#SBATCH" not in after

    def test_it_says_how_it_is_used(self) -> None:
        ended = subprocess.run(["bash", SCRIPT], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("usage: sbatch")


@pytest.mark.proof
class TestSlurmJob:
    def test_a_study_runs_on_all_its_nodes_and_nothing_stays(self, tmp_path: Path) -> None:
        with slurm.job(tmp_path, "smoothing", *SMALL) as (job, private):
            shown, _ = job.communicate(timeout=240)
        assert job.returncode == 0, shown
        assert "2 of 2 nodes joined Ray at 127.0.0.1:" in shown
        assert "3 trials: 3 complete" in shown
        assert set(tune_distill.load("smoothing", results=tmp_path / "results")["state"]) == {
            "complete"
        }
        assert not (tmp_path / ".ray" / "auth_token").exists()
        slurm.assert_nothing_stays(private)

    def test_told_that_time_is_up_it_writes_its_tables(self, tmp_path: Path) -> None:
        with slurm.job(tmp_path, "smoothing", "--seeds", "9", *SMALL) as (job, private):
            assert job.stdout
            shown = []
            for line in job.stdout:
                shown.append(line)
                if line.startswith("complete"):
                    token = private / "auth_token"
                    assert (token.stat().st_mode, private.stat().st_mode) == (0o100600, 0o040700)
                    job.send_signal(signal.SIGTERM)
                    break
            rest, _ = job.communicate(timeout=240)
        assert job.returncode == 1, "".join(shown) + rest
        states = tune_distill.load("smoothing", results=tmp_path / "results")["state"]
        assert "complete" in set(states)
        assert len(states) == 27
        slurm.assert_nothing_stays(private)


class TestReadme:
    def test_it_tells_of_every_file(self) -> None:
        others = set(FILES) - {"README.md"}
        assert others - set(re.findall(r"\]\(([^)]+)\)", text("README.md"))) == set()

    def test_its_links_lead_somewhere(self) -> None:
        targets = re.findall(r"\]\(([^)#]+)\)", text("README.md"))
        assert targets != []
        assert [name for name in targets if not (CLUSTER / name).exists()] == []

    @pytest.mark.parametrize("name", [name for name in FILES if "Dockerfile" not in name])
    def test_the_studies_that_it_runs_are_commands(self, name: str) -> None:
        shown = re.findall(r"(?:tune_distill\.(?:study|submit)|slurm\.sh) ([^|`>\n]+)", text(name))
        studies = [shlex.split(line, comments=True) for line in shown]
        # Of submit, what it does to jobs; of usage lines, a name in capitals; of code, variables.
        others = ("status", "logs", "stop", "fetch", "STUDY", "--address")
        parsed = [parse_arguments(words) for words in studies if words[0] not in others]
        assert parsed != []
