"""The manifests for KubeRay, checked with its schema and our rules."""

from __future__ import annotations

import shlex

import pytest

from tests.cluster_schemas import kuberay, launcher
from tests.cluster_schemas.files import (
    MANIFESTS,
    documents,
    manifest,
    text,
)
from tune_distill.cli.options import parse_arguments


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
    def test_pods_have_the_least_rights(self, name: str) -> None:
        pods = list(kuberay.pods(manifest(name)))
        assert len(pods) == (3 if name == MANIFESTS[0] else 4)
        assert [kuberay.pod_faults(pod) for pod in pods] == [[]] * len(pods)
        assert all(pod["automountServiceAccountToken"] is False for pod in pods)

    def test_a_pod_with_more_rights_is_found(self) -> None:
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
    def test_the_head_runs_no_trials(self, name: str) -> None:
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

    def test_the_clusters_store_is_on_a_defined_volume(self) -> None:
        claim, cluster = documents("kuberay/raycluster.yaml")
        assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
        head = cluster["spec"]["headGroupSpec"]["template"]["spec"]
        (volume,) = head["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        (mount,) = head["containers"][0]["volumeMounts"]
        assert mount["name"] == volume["name"]
        # Without fsGroup the volume belongs to root, and the image's user cannot write to it.
        assert head["securityContext"]["fsGroup"] == head["securityContext"]["runAsGroup"]
        assert f"--results {mount['mountPath']}" in text("kuberay/raycluster.yaml")

    def test_the_job_runs_a_command_that_exists(self) -> None:
        spec = manifest("kuberay/rayjob.yaml")["spec"]
        python, dash_m, module, *arguments = shlex.split(spec["entrypoint"])
        assert (python, dash_m, module) == ("python", "-m", "tune_distill.study")
        options = parse_arguments(arguments)
        assert options.address == "auto"
        # The cluster is removed when the job ends, so results must be elsewhere.
        assert spec["shutdownAfterJobFinishes"] is True
        assert options.results.startswith("s3://")
        assert str(options.store).startswith("s3://")

    def test_every_pod_that_runs_trials_can_open_the_store(self) -> None:
        for group in kuberay.groups(manifest("kuberay/rayjob.yaml")):
            (container,) = group["template"]["spec"]["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "tune-distill-object-store"}}]
        assert "create secret generic tune-distill-object-store" in text("kuberay/rayjob.yaml")
