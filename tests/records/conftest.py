"""Fixtures: a place of every kind, and a store in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.object_store import BUCKET, object_store
from tests.records.places import KINDS
from tune_distill.records.places import Place
from tune_distill.records.store import Store
from tune_distill.tuning.cluster import running_ray


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        yield environment


@pytest.fixture
def s3(server, monkeypatch) -> str:
    """Return the URI of an empty folder in a bucket."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with running_ray(None):
        yield


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name == "relayed" else ()) for name in KINDS
    ]
)
def place(request) -> Place:
    return KINDS[request.param](request)


@pytest.fixture
def store(place) -> Store:
    return Store(place)
