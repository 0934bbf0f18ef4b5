"""Every kind of place refuses names and links that lead out of it."""

from __future__ import annotations

import uuid
from pathlib import Path

import fsspec
import pytest

from tests.records.made import finish_run, trials_of
from tests.records.places import write, write_folder
from tune_distill.records.mirror import mirrored
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.records.store import Store
from tune_distill.spec.errors import StoreError

UNSAFE = ["../x", "a/../../x", "/x", "a//b", "a/./b", "a\\b", "a\0b", "a\nb", "x" * 300]


def attempts(place: Place, name: str) -> list:
    """Return a call of every method of the place with the name."""

    def reading(block) -> None:
        with block:
            pytest.fail("it was let in")

    return [
        lambda: place.read(name),
        lambda: reading(place.reading(name)),
        lambda: reading(place.reading_folder(name)),
        lambda: write(place, name),
        lambda: write_folder(place, name, file=b"x"),
        lambda: place.create(name, b"x"),
        lambda: place.names(name),
        lambda: place.exists(name),
        lambda: place.remove(name),
        lambda: place.remove_folder(name),
        lambda: place.set_aside(name, "old"),
    ]


def paths_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("name", UNSAFE)
def test_every_method_refuses_a_name_that_leads_out(place, name, tmp_path):
    before = paths_below(tmp_path)
    for attempt in attempts(place, name):
        with pytest.raises(StoreError, match="a file's name must"):
            attempt()
    assert paths_below(tmp_path) == before


class TestKeysOfABucket:
    """Keys that others have written to a bucket, where any text is a key."""

    @pytest.fixture
    def root(self) -> str:
        return f"/{uuid.uuid4().hex}/store"

    @pytest.fixture
    def place(self, root, tmp_path, monkeypatch) -> ObjectStore:
        # Scratch lies so deep that keys that lead out of it still end in tmp_path.
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        return ObjectStore.open(f"memory:/{root}", "--store")

    def plant(self, key: str) -> None:
        """Write an object under exactly this key, which a client might normalise."""
        system = fsspec.filesystem("memory")
        system.pipe_file("/planted", b"planted")
        system.store[key] = system.store.pop("/planted")
        if key not in system.find("/" + key.split("/")[1]):
            pytest.skip("this fsspec lists no such key")

    @pytest.mark.parametrize(
        "inside",
        [
            "../PWNED",
            "a/../../../PWNED",
            "../../../../../../PWNED",
            "a\\..\\PWNED",
            "a//b",
            "/b",
            "./x",
        ],
    )
    def test_a_key_that_leads_out_is_refused_by_name(self, place, root, tmp_path, inside):
        write(place, "runs/k/student/weights")
        self.plant(f"{root}/runs/k/student/{inside}")
        with (
            pytest.raises(StoreError, match="a file's name must") as refusal,
            place.reading_folder("runs/k/student"),
        ):
            pytest.fail("it was let in")
        assert repr(inside)[1:-1] in str(refusal.value)
        assert paths_below(tmp_path) <= {"tmp"}

    def test_a_folder_of_such_a_name_is_not_listed(self, place, root):
        write(place, "runs/k/run.json")
        self.plant(f"{root}/runs/../run.json")
        with pytest.raises(StoreError, match="a file's name must"):
            place.names("runs")

    def test_a_file_that_is_a_folder_too_is_refused(self, place, root, tmp_path):
        self.plant(f"{root}/runs/k/student/a")
        self.plant(f"{root}/runs/k/student/a/b")
        with (
            pytest.raises(StoreError, match="must not be a folder's too"),
            place.reading_folder("runs/k/student"),
        ):
            pytest.fail("it was let in")
        assert paths_below(tmp_path) <= {"tmp"}

    def test_a_pattern_is_refused_as_a_name(self, place):
        write(place, "runs/k/run.json")
        for name in ("runs/*", "runs/?", "runs/[k]"):
            with pytest.raises(StoreError, match=r"must be without \*"):
                place.set_aside(name, "old")
        assert place.read("runs/k/run.json") == b"content"

    def test_remote_results_are_not_written_outside_their_copy(self, place, root, tmp_path):
        write(place, "smoothing/trials.parquet")
        self.plant(f"{root}/smoothing/../../../../PWNED")
        with mirrored(place) as mirror, pytest.raises(StoreError, match="a file's name must"):
            mirror.fetch()
        assert paths_below(tmp_path) <= {"tmp"}

    def test_a_run_of_a_store_is_refused(self, place, root, tmp_path):
        trial = trials_of()[0]
        store = Store(place)
        finish_run(store, trial)
        [student] = [n for n in place.names(f"runs/{trial.run_key}") if n.startswith("student-")]
        self.plant(f"{root}/runs/{trial.run_key}/{student}/../../../../../PWNED")
        with pytest.raises(StoreError, match="PWNED"), store.student(trial.run_key):
            pytest.fail("it was let in")
        assert paths_below(tmp_path) <= {"tmp"}


class TestLinks:
    """Links in a store's folder that others may write to."""

    @pytest.fixture
    def outside(self, tmp_path) -> Path:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_text("outside")
        return tmp_path / "outside"

    @pytest.fixture(params=["folder", "local"])
    def linked(self, request, tmp_path, outside) -> Place:
        """Return a place in whose folder `file` and `below` are links that lead outside."""
        root = tmp_path / "place"
        root.mkdir()
        (root / "file").symlink_to(outside / "file")
        (root / "below").symlink_to(outside)
        if request.param == "folder":
            return Folder(root)
        return ObjectStore.open(f"local://{root}", "--store")

    @pytest.mark.parametrize("name", ["file", "below/file", "below/new"])
    def test_links_are_not_followed(self, linked, outside, name):
        writes = [
            lambda: linked.read(name),
            lambda: write(linked, name),
            lambda: write_folder(linked, name, new=b"x"),
            lambda: linked.create(name, b"x"),
            lambda: linked.exists(name),
        ]
        for attempt in writes:
            with pytest.raises(StoreError, match="must be no symbolic link"):
                attempt()
        assert paths_below(outside) == {"file"}
        assert (outside / "file").read_text() == "outside"

    def test_a_folder_with_a_link_is_refused(self, linked, outside, tmp_path):
        write_folder(linked, "runs/k/student", config=b"{}")
        (tmp_path / "place/runs/k/student/weights").symlink_to(outside / "file")
        with (
            pytest.raises(StoreError, match="must be no symbolic link"),
            linked.reading_folder("runs/k/student"),
        ):
            pytest.fail("it was let in")

    @pytest.mark.parametrize("name", ["file", "below"])
    def test_what_is_removed_or_set_aside_is_the_link(self, tmp_path, outside, name):
        root = tmp_path / "place"
        root.mkdir()
        place = Folder(root)
        removals = [place.remove, place.remove_folder, lambda n: place.set_aside(n, "old")]
        for remove in removals:
            (root / name).symlink_to(outside / "file" if name == "file" else outside)
            remove(name)
            assert not (root / name).is_symlink()
        assert (outside / "file").read_text() == "outside"

    def test_the_root_of_a_store_may_be_a_link(self, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "store").symlink_to(tmp_path / "disk")
        place = Folder(tmp_path / "store")
        write(place, "a/b")
        assert place.read("a/b") == b"content"


def test_a_link_is_not_uploaded(place, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")

    def folder_with_link() -> None:
        with place.writing_folder("a/folder") as folder:
            (folder / "weights").symlink_to(secret)

    def link() -> None:
        with place.writing("a/file") as path:
            path.unlink(missing_ok=True)
            path.symlink_to(secret)

    for upload in (folder_with_link, link):
        with pytest.raises(StoreError, match="must be no symbolic link"):
            upload()
    assert not place.exists("a/file")
    assert place.names("a/folder") == []
