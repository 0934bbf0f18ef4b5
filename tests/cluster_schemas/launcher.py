"""Ray's own checks of what the cluster launcher and `ray start` are given."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from typing import Any

import click
import jsonschema
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

Config = dict[str, Any]


def prepared(config: Config) -> Config:
    """The configuration as `ray up` completes it with Ray's defaults."""
    return prepare_config(copy.deepcopy(config))


def launcher_faults(config: Config) -> list[str]:
    """Return the faults that Ray's validator finds in the configuration."""
    try:
        validate_config(prepared(config))
    except jsonschema.ValidationError as error:
        return [error.message]
    except (ValueError, KeyError, click.ClickException) as error:
        return [str(error)]
    return []


def start_faults(arguments: Sequence[str]) -> list[str]:
    """Return the faults that `ray start` finds in these arguments, without starting Ray."""
    try:
        start.make_context("start", list(arguments))
    except click.ClickException as error:
        return [error.format_message()]
    return []


def started_with(command: str) -> list[str]:
    """The arguments of `ray start` in a shell command; shell variables stand as they are."""
    found = re.search(r"\bray start\b(.*)", command)
    return shlex.split(found.group(1)) if found else []


def ray_starts(config: Config) -> list[str]:
    """Return the commands that start Ray on the head and on a worker."""
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    found = [command for command in commands if "ray start" in command]
    assert len(found) == 2
    return found
