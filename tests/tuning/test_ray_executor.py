"""The Ray executor before and after Tune runs, with a fake of Ray."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.records.made import FakeInputs, LocalStore, resolved
from tune_distill.planning.plans import plans
from tune_distill.planning.resources import Limits, ResourceRequest, TrialResources
from tune_distill.planning.work import Work
from tune_distill.tuning.ray_executor import RayExecutor


class Ray:
    """A fake of Ray and Tune."""

    def __init__(self) -> None:
        self.starting: Callable[[], object] = lambda: None
        self.log: list[str] = []
        self.resources: list[TrialResources] = []

    @contextmanager
    def running(self, address: str | None, nice: int | None) -> Iterator[list[dict[str, float]]]:
        self.starting()
        self.log.append("started")
        yield [{"CPU": 8.0, "GPU": 4.0}]
        self.log.append("ended")

    def run(self, work: Work, prepared: Any, place: Any, resources: TrialResources) -> bool:
        assert prepared.result() == work.prepare()
        assert place is work.store.place
        self.log.append("ran")
        self.resources.append(resources)
        return False


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ray = Ray()
    monkeypatch.setattr("tune_distill.tuning.ray_executor.running_ray", ray.running)
    monkeypatch.setattr("tune_distill.tuning.runner.run_on_tune", ray.run)
    return ray


@pytest.fixture
def work(tmp_path: Path) -> Work:
    inputs: Any = FakeInputs()
    inputs.for_workers = lambda: inputs
    store: Any = LocalStore(tmp_path)
    (plan,) = plans(resolved("smoothing"), inputs, store)
    display: Any = object()
    return Work([plan], [plan], inputs, store, Limits(), display, lambda *told: None)


def test_resources_follow_from_the_request_and_the_nodes(ray: Ray, work: Work) -> None:
    RayExecutor(ResourceRequest(max_concurrent=3)).run(work)
    assert ray.resources == [TrialResources(1.0, 1.0, 3)]


def test_ray_starts_once_and_ends_with_the_executor(ray: Ray, work: Work) -> None:
    executor = RayExecutor(ResourceRequest())
    assert executor.nodes() == [{"CPU": 8.0, "GPU": 4.0}]
    executor.run(work)
    executor.run(work)
    executor.close()
    executor.close()
    assert ray.log == ["started", "ran", "ran", "ended"]
    executor.run(work)
    executor.close()
    assert ray.log[4:] == ["started", "ran", "ended"]


def test_sigterm_while_ray_starts_is_an_interrupt(ray: Ray, work: Work) -> None:
    def terminated() -> None:
        # Ray's handler of SIGTERM does this while Ray starts.
        raise SystemExit(signal.SIGTERM)

    ray.starting = terminated
    with pytest.raises(KeyboardInterrupt):
        RayExecutor(ResourceRequest()).run(work)
    assert ray.log == []


def test_rays_handler_of_sigterm_is_removed(ray: Ray, work: Work) -> None:
    ray.starting = lambda: signal.signal(signal.SIGTERM, lambda number, frame: None)
    before = signal.getsignal(signal.SIGTERM)
    RayExecutor(ResourceRequest()).run(work)
    assert signal.getsignal(signal.SIGTERM) is before
