"""Which of Ray's processes run on this machine, and that nothing of Ray stays changed."""

from __future__ import annotations

from typing import Any

import pytest

from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.lean import lean_ray


def test_ray_is_its_own_again_after_the_block() -> None:
    from ray._private import parameter, services, utils

    def parts() -> list[Any]:
        own = [services.get_node, services.start_api_server, utils.get_dashboard_dependency_error]
        return [parameter.RayParams, *own]

    before = parts()
    with lean_ray():
        assert not set(parts()) & set(before)
    assert parts() == before


@pytest.mark.slow
def test_a_ray_of_this_machine_is_a_raylet_and_its_server() -> None:
    import ray
    from ray._private import worker

    with running_ray(None) as nodes:
        assert [node["CPU"] > 0 for node in nodes] == [True]
        assert set(worker._global_node.all_processes) == {"gcs_server", "raylet"}
        assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    assert not ray.is_initialized()
