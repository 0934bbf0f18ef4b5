"""The configurations of Ray's cluster launcher, checked with Ray's and the cloud's schemas."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable

import pytest

from tests.cluster_schemas import launcher
from tests.cluster_schemas.files import (
    LAUNCHERS,
    Config,
    asked_extras,
    documents,
    text,
    values,
)
from tests.cluster_schemas.launcher import ray_starts
from tune_distill.cli.submit_options import RESULTS


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

    def test_ray_refuses_inconsistent_node_types(self) -> None:
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
        """Ray's defaults would install its nightly build over the pinned version."""
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
        """Check the configs against botocore's description of EC2, without a request."""
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
        # This is the default place of a submission's results.
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
