"""A folder on the driver's node, accessed through Ray from other nodes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

from tests.processes import wait_until
from tune_distill.records.places import Folder
from tune_distill.spec.errors import StoreError
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.porter import PIECE_BYTES
from tune_distill.tuning.relay import RelayedFolder, SharedFolder, shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with running_ray(None):
        yield


class TestRelayedFolder:
    @pytest.fixture
    def relayed(self, ray_here: None, tmp_path: Path) -> Iterator[RelayedFolder]:
        with shared(Folder(tmp_path / "store")) as place:
            assert isinstance(place, SharedFolder)
            yield RelayedFolder(tmp_path / "store", place._porter)

    def test_a_file_of_many_pieces_is_uploaded_and_read_back(self, relayed, tmp_path):
        content = os.urandom(3 * PIECE_BYTES + 17)
        with relayed.writing("runs/a/weights") as path:
            path.write_bytes(content)
        assert (tmp_path / "store/runs/a/weights").read_bytes() == content
        with relayed.reading("runs/a/weights") as path:
            assert path.read_bytes() == content

    def test_a_file_replaced_during_a_download_is_not_mixed(self, relayed, tmp_path, monkeypatch):
        name, ask = "weights", relayed._ask
        contents = [bytes([letter]) * (2 * PIECE_BYTES + 1) for letter in b"abc"]
        with relayed.writing(name) as path:
            path.write_bytes(contents.pop(0))
        left = list(contents)

        def ask_and_replace(method, *arguments):
            if method == "read_piece" and arguments[1] and left:
                with Folder(tmp_path / "store").writing(name) as path:
                    path.write_bytes(left.pop(0))
            return ask(method, *arguments)

        monkeypatch.setattr(relayed, "_ask", ask_and_replace)
        with relayed.reading(name) as path:
            assert path.read_bytes() == contents[-1]

    def test_an_empty_file_is_a_file(self, relayed):
        with relayed.writing("empty") as path:
            path.touch()
        assert relayed.read("empty") == b""

    def test_the_actor_may_be_killed_between_calls(self, relayed, tmp_path):
        assert relayed.create("first", b"1")
        pids = {
            int(entry)
            for entry in os.listdir("/proc")
            if entry.isdigit() and b"ray::Porter" in _command(int(entry))
        }
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(_command, pids)), "the actor's end", 30)
        assert relayed.read("first") == b"1"
        assert relayed.create("second", b"2")

    def test_refusals_of_the_folder_are_passed_on(self, relayed, tmp_path):
        (tmp_path / "store" / "file").write_text("x")
        with pytest.raises(StoreError, match="must be writable"):
            relayed.create("file/below", b"1")
        with pytest.raises(StoreError), relayed.writing("file/below") as path:
            path.write_text("1")
        with pytest.raises(FileNotFoundError):
            relayed.read("nothing")
        with pytest.raises(FileNotFoundError), relayed.reading("nothing"):
            pass

    def test_a_node_that_shares_the_folder_uses_it_directly(self, ray_here, tmp_path):
        store, copy = tmp_path / "store", tmp_path / "copy"
        with shared(Folder(store)) as place:
            assert type(_travelled(place)) is Folder
            shutil.copytree(store, copy)
        assert list((store / ".marks").iterdir()) == []
        shutil.rmtree(store)
        # Another driver's copy at the same path is not this folder.
        shutil.copytree(copy, store)
        with shared(Folder(store)) as place:
            shutil.rmtree(store)
            shutil.copytree(copy, store)
            assert isinstance(_travelled(place), RelayedFolder)


def _travelled(place: SharedFolder) -> object:
    return cloudpickle.loads(cloudpickle.dumps(place))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
