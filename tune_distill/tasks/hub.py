"""The hub is asked once whether it answers; without it the cache is used at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import datasets
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

_TIMEOUT_S = 10.0


@contextmanager
def cache_if_unreachable(
    name: str, kind: Literal["model", "dataset"], revision: str | None
) -> Iterator[None]:
    """If the hub does not answer, let its clients read only their cache within the block.

    Otherwise they repeat each request for half a minute before they look there.
    """
    if _answers(name, kind, revision):
        yield
    else:
        with _offline():
            yield


def _answers(name: str, kind: Literal["model", "dataset"], revision: str | None) -> bool:
    try:
        HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_TIMEOUT_S)
    except HfHubHTTPError:
        # It answers, and what it says (no such name, no access) comes better from loading.
        return True
    except Exception:  # sockets, proxies, time-outs: one kind for each transport
        return False
    return True


@contextmanager
def _offline() -> Iterator[None]:
    """Both clients are in offline mode within the block, and as they were after it."""
    # What is documented is the variable HF_HUB_OFFLINE, but both read it only once, when they are
    # imported, into these two names; `load_dataset` has no argument that keeps it off the network.
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
