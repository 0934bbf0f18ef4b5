"""An empty place of every kind, and helpers that write to one."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from tests.object_store import make_bucket
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.tuning.relay import RelayedFolder, shared


def folder(request) -> Place:
    return Folder(request.getfixturevalue("tmp_path") / "place")


def memory(request) -> Place:
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}/store", "--store")


def renamed(request) -> Place:
    """Return a place whose file system renames complete uploads."""
    return ObjectStore.open(f"local://{request.getfixturevalue('tmp_path')}/place", "--store")


def bucket(request) -> Place:
    return ObjectStore.open(request.getfixturevalue("s3") + "/store", "--store")


def whole_bucket(request) -> Place:
    """Return a place that is a whole bucket, with files at its root."""
    request.getfixturevalue("s3")
    name = f"b{uuid.uuid4().hex}"
    make_bucket(request.getfixturevalue("server"), name)
    return ObjectStore.open(f"s3://{name}", "--store")


def relayed(request) -> Place:
    """Return the driver's folder as workers on other nodes reach it."""
    request.getfixturevalue("ray_here")
    root = request.getfixturevalue("tmp_path") / "store"
    with ExitStack() as ends:
        place = ends.enter_context(shared(Folder(root)))
        request.addfinalizer(ends.pop_all().close)
    return RelayedFolder(root, place._porter)


KINDS = {kind.__name__: kind for kind in (folder, memory, renamed, bucket, whole_bucket, relayed)}


def write(place: Place, name: str, content: bytes = b"content") -> None:
    with place.writing(name) as path:
        path.write_bytes(content)


def write_folder(place: Place, name: str, **files: bytes) -> None:
    with place.writing_folder(name) as path:
        for file, content in files.items():
            target = path / file.replace("__", "/")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)


def half_written(path: Path) -> NoReturn:
    path.write_bytes(b"half")
    raise ZeroDivisionError


def folder_of(place: Place, name: str) -> dict[str, bytes]:
    with place.reading_folder(name) as path:
        return {
            file.relative_to(path).as_posix(): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file()
        }
