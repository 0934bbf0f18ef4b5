"""The executor that runs trials on Ray Tune, started here or joined."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tune_distill.planning.resources import Nodes, ResourceRequest
from tune_distill.planning.work import Work, resources_for
from tune_distill.records.places import Place
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.signals import signals_kept


class RayExecutor:
    """Runs trials on as many workers as `request` and Ray's nodes allow.

    Without an `address` Ray is started on this machine, with workers of niceness `nice`.
    """

    def __init__(
        self, request: ResourceRequest, address: str | None = None, nice: int | None = None
    ) -> None:
        self._request, self._address, self._nice = request, address, nice
        self._nodes: Nodes = []
        self._stack = ExitStack()
        self._shared: dict[str, Place] = {}

    def nodes(self) -> Nodes:
        """Return the resources of each of Ray's nodes, after starting or joining Ray if necessary.

        Raises:
            ClusterError: Ray cannot be started or does not answer.
        """
        if not self._nodes:
            self._nodes = self._stack.enter_context(running_ray(self._address, self._nice))
        return self._nodes

    def run(self, work: Work) -> bool:
        """Run what the work's plans have left; return whether an error ended it early.

        Raises:
            KeyboardInterrupt: Ctrl-C came, or SIGTERM while Ray started. Trials that had begun
                have ended by then.
            ClusterError: Ray cannot be started, or no node can ever hold a trial.
            Exception: the inputs cannot be prepared.
        """

        def prepare() -> Inputs:
            return work.prepare().for_workers()

        # Tokenise texts while Ray starts, because each takes seconds.
        with ThreadPoolExecutor(1) as beside:
            prepared = beside.submit(prepare)
            nodes = self._started()
            resources = resources_for(work.known, nodes, self._request)
            # Import Ray only now, because it reads its settings from the environment that
            # `running_ray` has set.
            from tune_distill.tuning.runner import run_on_tune

            return run_on_tune(work, prepared, self._reachable(work.store.place), resources)

    def close(self) -> None:
        """End a Ray that was started here, or leave the cluster; later work starts it again."""
        self._nodes, self._shared = [], {}
        self._stack.close()

    def _started(self) -> Nodes:
        with signals_kept():
            try:
                return self.nodes()
            except SystemExit as error:
                # While Ray starts, its own handler raises SystemExit for SIGTERM.
                raise KeyboardInterrupt from error

    def _reachable(self, place: Place) -> Place:
        """Return the place in a form that workers on all nodes can use."""
        if self._address is None:
            return place
        from tune_distill.tuning.relay import shared

        # Nodes may join at any time, and may not see the store's folder.
        if place.where() not in self._shared:
            self._shared[place.where()] = self._stack.enter_context(shared(place))
        return self._shared[place.where()]
