"""The files of cluster/, read, and what the project says of their versions."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ["ray-cluster-aws.yaml", "ray-cluster-on-premise.yaml"]
FILES = [str(p.relative_to(CLUSTER)) for p in CLUSTER.rglob("*") if p.is_file()]
MANIFESTS = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]

Config = dict[str, Any]


def text(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


@cache
def documents(name: str) -> list[Config]:
    return list(yaml.safe_load_all(text(name)))


def manifest(name: str) -> Config:
    """A copy of the file's RayCluster or RayJob."""
    (found,) = (each for each in documents(name) if each["apiVersion"] == "ray.io/v1")
    return copy.deepcopy(found)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


IMAGE = f"tune_distill:ray-{pins()['ray']}"


def values(node: Any, key: str) -> Iterator[Any]:
    """Every value of `key`, at any depth."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for inner in node.values():
            yield from values(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from values(inner, key)


def asked_extras(content: str) -> set[str]:
    """The extras of this project that a file installs, each of which it has."""
    asked = set(re.findall(r"'\.\[(\w+)\]'|\['optional-dependencies'\]\['(\w+)'\]", content))
    names = {name for pair in asked for name in pair if name}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names <= project["optional-dependencies"].keys()
    return names
