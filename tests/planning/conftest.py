"""Fixtures: one thread, torch's state restored, small students, and an empty store."""

import pytest

from tests.records.made import LocalStore
from tests.science import (  # noqa: F401
    examples,
    hub_that_answers,
    one_thread,
    own_torch_state,
    tiny_t5,
)


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")
