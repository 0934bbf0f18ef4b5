"""Asks the hub once whether it answers; if it does not, the cache is used at once."""

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

    Otherwise they would repeat each request for half a minute before they look in the cache.
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
        # The hub answers. Loading reports its error (no such name, no access) better.
        return True
    except Exception:  # sockets, proxies, time-outs: one kind for each transport
        return False
    return True


@contextmanager
def _offline() -> Iterator[None]:
    """Put both clients into offline mode within the block, and restore their modes after it."""
    # The documented way is the variable HF_HUB_OFFLINE, but both clients read it into these two
    # names only when they are imported. `load_dataset` has no argument for offline mode.
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
