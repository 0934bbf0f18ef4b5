"""KubeRay's own schema, read strictly, and the rules that it leaves to us."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

# Beside a checkout that has them; they are no part of this repository.
DEFINITIONS = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuberay"

Manifest = dict[str, Any]


@cache
def validator(kind: str) -> Draft202012Validator:
    """Refuses what Kubernetes would refuse of a `kind`, and fields that it would silently drop."""
    path = DEFINITIONS / f"ray.io_{kind.lower()}s.yaml"
    # libyaml's loader: the files have tens of thousands of lines.
    definition = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1")
    return Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))


def closed(schema: Any) -> Any:
    """The schema, in which an object that lists its fields has no others."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    lists_fields = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if lists_fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def schema_faults(manifest: Manifest) -> list[str]:
    """Where the manifest breaks its kind's schema."""
    errors = validator(manifest["kind"]).iter_errors(manifest)
    return [f"{error.json_path}: {error.message}" for error in errors]


def cluster_of(manifest: Manifest) -> Manifest:
    """The Ray cluster that a RayCluster is and that a RayJob makes."""
    spec: Manifest = manifest["spec"]
    return spec if manifest["kind"] == "RayCluster" else spec["rayClusterSpec"]


def groups(manifest: Manifest) -> list[Manifest]:
    """The head's group, and the workers'."""
    cluster = cluster_of(manifest)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(manifest: Manifest) -> Iterator[Manifest]:
    """The spec of every pod that the manifest makes."""
    for group in groups(manifest):
        yield group["template"]["spec"]
    if "submitterPodTemplate" in manifest["spec"]:
        yield manifest["spec"]["submitterPodTemplate"]["spec"]


def pod_faults(pod: Manifest) -> list[str]:
    """Where the pod is more than Kubernetes' "restricted" Pod Security Standard lets it be.

    Source: the standard's own table; and our rule that requests equal limits.
    """
    security = pod.get("securityContext", {})
    faults = [
        rule
        for rule, held in {
            "pod: runAsNonRoot": security.get("runAsNonRoot") is True,
            "pod: runAsUser above 0": security.get("runAsUser", 0) > 0,
            "pod: seccompProfile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
            "pod: no host namespaces": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
            "pod: no hostPath": all("hostPath" not in each for each in pod.get("volumes", [])),
        }.items()
        if not held
    ]
    for container in pod["containers"] + pod.get("initContainers", []):
        faults += [f"{container['name']}: {fault}" for fault in container_faults(container)]
    return faults


def container_faults(container: Manifest) -> list[str]:
    security = container.get("securityContext", {})
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    held = {
        "no privilege escalation": security.get("allowPrivilegeEscalation") is False,
        "not privileged": not security.get("privileged"),
        "drops ALL": security.get("capabilities") == {"drop": ["ALL"]},
        "asks for CPU and memory": {"cpu", "memory"} <= requests.keys(),
        "requests equal limits": requests == limits,
    }
    return [rule for rule, holds in held.items() if not holds]
