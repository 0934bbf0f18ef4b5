"""The hub is asked once whether it answers; without it the cache is used at once."""

from __future__ import annotations

from typing import Literal

_TIMEOUT_S = 10.0


def use_cache_if_offline(
    name: str, kind: Literal["model", "dataset"], revision: str | None
) -> None:
    """The hub answers, or the hub's clients are in offline mode and read only their cache.

    Without this they repeat each request for half a minute before they look there.
    """
    import datasets
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_TIMEOUT_S)
    except HfHubHTTPError:
        # It answers, and what it says (no such name, no access) comes better from loading.
        return
    except Exception:  # sockets, proxies, time-outs: one kind for each transport
        # Both read their own copy of HF_HUB_OFFLINE when they are imported.
        constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True
