"""Ray on this machine alone starts without what only clusters need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_POLL_S = 0.02
_REGISTERED_WITHIN_S = 30.0


@contextmanager
def lean_ray() -> Iterator[None]:
    """A Ray that is started in the block is there in half of the time.

    Three processes are left out: the autoscaler's, the one that forwards logs, and the dashboard's,
    which Ray starts also where no dashboard is asked for; its agent, without which no node lives,
    is the minimal one. And Ray's own wait for its node, which looks after a tenth of a second and
    then after a whole one, begins when the node is there.
    """
    from ray._private import parameter, services, utils

    params, get_node, start_api_server = (
        parameter.RayParams,
        services.get_node,
        services.start_api_server,
    )
    dashboard_error = utils.get_dashboard_dependency_error

    class LeanParams(params):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.no_monitor, self.include_log_monitor = True, False

    def node_once_it_is_there(gcs_address: str, node_id: str) -> Any:
        _await_node(gcs_address)
        return get_node(gcs_address, node_id)

    parameter.RayParams = LeanParams
    services.get_node = node_once_it_is_there
    services.start_api_server = lambda *_, **__: (None, None)
    utils.get_dashboard_dependency_error = lambda: ImportError("not needed")
    try:
        yield
    finally:
        parameter.RayParams = params
        services.get_node, services.start_api_server = get_node, start_api_server
        utils.get_dashboard_dependency_error = dashboard_error


def _await_node(gcs_address: str) -> None:
    """A node has registered, or the time is up in which it should have."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    client = GcsClient(address=gcs_address)
    give_up_s = time.monotonic() + _REGISTERED_WITHIN_S
    while not client.get_all_node_info() and time.monotonic() < give_up_s:
        time.sleep(_POLL_S)
