"""Relayed access to a store's folder on the driver's node, for workers that do not share it.

An actor on the driver's node (porter.py) reads and writes the folder. Files are sent in pieces, so
only a few pieces of a file are in memory at a time. The actor keeps no state between calls: it may
be killed and restarted, and a call may be repeated.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_distill.records.copies import Copies
from tune_distill.records.names import require_name
from tune_distill.records.places import Folder, Place
from tune_distill.records.refusals import SCRATCH_CHOSEN_WITH, explained
from tune_distill.spec.errors import StoreError
from tune_distill.tuning.porter import PIECE_BYTES, Porter

# The number of calls that the actor serves at once.
_NUM_THREADS = 16

_MARKS = ".marks"


class RelayedFolder(Copies):
    """A folder on the driver's node, accessed by workers on other nodes.

    Names in the driver's listings are checked before they become paths on this node.
    """

    def __init__(self, root: Path, porter: Any) -> None:
        self._root, self._porter = root, porter

    def where(self, name: str = "") -> str:
        return f"{self._root}/{name}" if name else str(self._root)

    def read(self, name: str) -> bytes:
        return bytes(self._ask("read", name))

    def download(self, name: str, path: Path) -> None:
        with path.open("wb") as stream:
            version, piece = self._ask("read_piece", name, 0)
            while piece:
                with explained(path, SCRATCH_CHOSEN_WITH):
                    stream.write(piece)
                found, piece = self._ask("read_piece", name, stream.tell())
                if found != version:
                    # Another process has replaced the file: start again to get one version.
                    stream.seek(0)
                    stream.truncate()
                    version, piece = self._ask("read_piece", name, 0)

    def upload(self, path: Path, name: str) -> None:
        require_name(name, self.where())
        upload = uuid.uuid4().hex
        try:
            with path.open("rb") as stream:
                offset = 0
                while piece := stream.read(PIECE_BYTES):
                    self._ask("write_piece", upload, offset, piece)
                    offset += len(piece)
                if not offset:
                    self._ask("write_piece", upload, 0, b"")
            self._ask("finish_upload", upload, name)
        except StoreError:
            self._ask("drop_upload", upload)
            raise

    def files(self, folder: str) -> list[str]:
        return [require_name(name, self.where()) for name in self._ask("files", folder)]

    def sizes(self, folder: str) -> dict[str, int]:
        return dict(self._ask("sizes", folder))

    def create(self, name: str, content: bytes) -> bool:
        return bool(self._ask("create", name, content))

    def names(self, folder: str) -> list[str]:
        return [require_name(name, self.where()) for name in self._ask("names", folder)]

    def exists(self, name: str) -> bool:
        return bool(self._ask("exists", name))

    def remove(self, name: str) -> None:
        self._ask("remove", name)

    def remove_folder(self, name: str) -> None:
        self._ask("remove_folder", name)

    def remove_abandoned(self, folder: str) -> None:
        self._ask("remove_abandoned", folder)

    def set_aside(self, name: str, why: str) -> str:
        return str(self._ask("set_aside", name, why))

    def require_writable(self) -> None:
        self._ask("require_writable")

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(self._porter, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            # Ray wraps the actor's error; callers expect the errors of a folder.
            cause = error.cause
            if isinstance(cause, FileNotFoundError):
                raise FileNotFoundError(*cause.args) from error
            if isinstance(cause, StoreError):
                raise type(cause)(*cause.args) from error
            if isinstance(cause, OSError):
                raise StoreError(
                    f"{self.where()}: must be readable and writable for the driver, got {cause}; "
                    "free some space, or choose another folder with --results or --store"
                ) from error
            raise


class SharedFolder(Folder):
    """A folder of the driver that can be pickled for workers on any node.

    On a node that shares the folder, it is unpickled as the folder itself, and otherwise as a
    RelayedFolder.
    """

    def __init__(self, root: Path, porter: Any) -> None:
        super().__init__(root)
        self._porter = porter
        # A new mark distinguishes this folder from copies of it that were made earlier.
        self._mark = f"{_MARKS}/{uuid.uuid4().hex}"
        self.create(self._mark, b"")

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.root, self._mark, self._porter)

    def end(self) -> None:
        """Remove the mark, so that workers no longer recognise the folder."""
        self.remove(self._mark)


def _arrived(root: Path, mark: str, porter: Any) -> Place:
    folder = Folder(root)
    try:
        seen = folder.path(mark).is_file()
    except OSError:
        seen = False
    return folder if seen else RelayedFolder(root, porter)


@contextmanager
def shared(place: Place) -> Iterator[Place]:
    """Yield the place in a form that workers on all nodes of the running Ray can use."""
    if not isinstance(place, Folder):
        yield place
        return
    porter = _start_porter(place.root)
    try:
        folder = SharedFolder(place.root, porter)
        try:
            yield folder
        finally:
            folder.end()
    finally:
        ray.kill(porter)


def _start_porter(root: Path) -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return (
        ray.remote(Porter)
        .options(
            num_cpus=0,
            max_concurrency=_NUM_THREADS,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=here,
        )
        .remote(root)
    )
