"""The results folder and the store of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tune_distill.records.copies import Copies
from tune_distill.records.files import require_writable
from tune_distill.records.mirror import Mirror, mirrored
from tune_distill.records.store import Store
from tune_distill.records.uris import is_remote, local_path, open_place


@dataclass(frozen=True)
class Outputs:
    """A results folder of this machine and the store.

    If the results are remote, `results` is a local copy and `publish` uploads it.
    """

    results: Path
    store: Store
    _mirror: Mirror | None = None

    def require_writable(self) -> None:
        """Check, before a trial starts, that results and store can be written.

        Raises:
            StoreError: one of them cannot be written.
        """
        require_writable(self.results)
        self.store.place.require_writable()

    def fetch(self) -> None:
        """Download what earlier commands wrote, if the results are remote."""
        if self._mirror is not None:
            self._mirror.fetch()

    def publish(self) -> None:
        """Upload what was written, if the results are remote."""
        if self._mirror is not None:
            self._mirror.publish()


@contextmanager
def opened(results: str, store: str | None) -> Iterator[Outputs]:
    """Yield the outputs at these paths or URIs; the store is by default in the results.

    Raises:
        StoreError: one of them cannot be opened.
    """
    inside = f"{results.rstrip('/')}/.store"
    kept = Store(open_place(inside if store is None else store, "--store"))
    if not is_remote(results):
        yield Outputs(local_path(results, "--results"), kept)
        return
    place = open_place(results, "--results")
    assert isinstance(place, Copies)
    with mirrored(place) as mirror:
        yield Outputs(mirror.folder, kept, mirror)
