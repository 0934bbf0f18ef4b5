from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError

from tune_distill.tasks.hub import cache_if_unreachable


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with both clients online, and restore them afterwards."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


def answer_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[Any]:
    """Make the hub raise `error`; the returned list collects the requests."""
    asked: list[Any] = []

    def repo_info(self: object, name: str, **options: Any) -> None:
        asked.append((name, options["repo_type"], options["revision"]))
        if error is not None:
            raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    return asked


def is_offline() -> tuple[bool, bool]:
    return bool(constants.HF_HUB_OFFLINE), bool(datasets.config.HF_HUB_OFFLINE)


def test_a_hub_that_answers_stays_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, None)
    with cache_if_unreachable("esnli/esnli", "dataset", "main"):
        assert is_offline() == (False, False)
    assert asked == [("esnli/esnli", "dataset", "main")]


def test_without_an_answer_both_clients_read_their_cache_within_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_with(monkeypatch, ConnectionError("Name or service not known"))
    with cache_if_unreachable("google/flan-t5-small", "model", None):
        assert is_offline() == (True, True)
    assert is_offline() == (False, False)


def test_an_error_in_the_block_leaves_no_client_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, ConnectionError("Name or service not known"))
    with (
        pytest.raises(KeyError),
        cache_if_unreachable("google/flan-t5-small", "model", None),
    ):
        raise KeyError("not in the cache")
    assert is_offline() == (False, False)


def test_a_process_that_was_offline_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    answer_with(monkeypatch, ConnectionError("offline mode is enabled"))
    with cache_if_unreachable("google/flan-t5-small", "model", None):
        assert is_offline() == (True, True)
    assert is_offline() == (True, False)


def test_a_hub_that_knows_no_such_name_is_not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    response: Any = SimpleNamespace(headers={}, request=None)
    answer_with(monkeypatch, RepositoryNotFoundError("no such name", response=response))
    with cache_if_unreachable("no/such", "model", None):
        assert is_offline() == (False, False)
