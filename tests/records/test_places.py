"""Every kind of place keeps the same promises, and a store on it works."""

import pickle
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier
from typing import NoReturn

import pytest

from tests.object_store import BUCKET, make_bucket, object_store
from tests.records.made import (
    evaluation_record,
    finish_run,
    history,
    prediction,
    run_record,
    trials_of,
)
from tune_distill.records.digests import DamagedError
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder, Place
from tune_distill.records.store import Store
from tune_distill.records.tables import write_predictions
from tune_distill.records.uris import local_path, open_place
from tune_distill.spec.errors import StoreError
from tune_distill.tuning.cluster import running_ray
from tune_distill.tuning.relay import RelayedFolder, shared

TRIAL, OTHER = trials_of()[:2]
KEY, EVALUATION = TRIAL.run_key, TRIAL.evaluation_key


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        yield environment


@pytest.fixture
def s3(server, monkeypatch) -> str:
    """A URI under which nothing is."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def folder(request) -> Place:
    return Folder(request.getfixturevalue("tmp_path") / "place")


def memory(request) -> Place:
    return ObjectStore.open(f"memory://{uuid.uuid4().hex}/store", "--store")


def renamed(request) -> Place:
    """A file system that renames: uploads get their names once they are whole."""
    return ObjectStore.open(f"local://{request.getfixturevalue('tmp_path')}/place", "--store")


def bucket(request) -> Place:
    return ObjectStore.open(request.getfixturevalue("s3") + "/store", "--store")


def whole_bucket(request) -> Place:
    """One whose files lie at the bucket's root, beside nothing else's."""
    request.getfixturevalue("s3")
    name = f"b{uuid.uuid4().hex}"
    make_bucket(request.getfixturevalue("server"), name)
    return ObjectStore.open(f"s3://{name}", "--store")


def relayed(request) -> Place:
    """The driver's folder as workers on other nodes see it."""
    request.getfixturevalue("ray_here")
    root = request.getfixturevalue("tmp_path") / "store"
    with ExitStack() as ends:
        place = ends.enter_context(shared(Folder(root)))
        request.addfinalizer(ends.pop_all().close)
    return RelayedFolder(root, place._porter)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with running_ray(None):
        yield


KINDS = {kind.__name__: kind for kind in (folder, memory, renamed, bucket, whole_bucket, relayed)}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name == "relayed" else ()) for name in KINDS
    ]
)
def place(request) -> Place:
    return KINDS[request.param](request)


@pytest.fixture
def store(place) -> Store:
    return Store(place)


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


class TestFiles:
    def test_what_is_written_is_read(self, place):
        write(place, "runs/a/run.json", b"\x00whole\n")
        assert place.read("runs/a/run.json") == b"\x00whole\n"
        with place.reading("runs/a/run.json") as path:
            assert (path.name, path.read_bytes()) == ("run.json", b"\x00whole\n")
        assert place.exists("runs/a/run.json")
        assert place.exists("runs/a")
        assert place.exists("runs")

    def test_an_empty_file_is_a_file(self, place):
        write(place, "a/empty", b"")
        assert place.read("a/empty") == b""
        assert place.exists("a/empty")

    def test_a_file_may_have_any_size(self, place, tmp_path):
        content = bytes(range(256)) * 80_000  # 20 MB
        write(place, "large", content)
        with place.reading("large") as path:
            assert path.read_bytes() == content

    def test_what_is_absent_is_not_found(self, place):
        write(place, "a/b")
        for name in ("a/c", "a/b2", "c/d"):
            assert not place.exists(name)
            with pytest.raises(FileNotFoundError):
                place.read(name)
            with pytest.raises(FileNotFoundError), place.reading(name):
                pytest.fail("there is nothing to read")
            with pytest.raises(FileNotFoundError), place.reading_folder(name):
                pytest.fail("there is nothing to read")

    def test_writing_replaces(self, place):
        write(place, "a/b", b"a longer one")
        write(place, "a/b", b"new")
        assert place.read("a/b") == b"new"
        assert place.names("a") == ["b"]

    def test_a_block_that_raises_changes_nothing(self, place):
        write(place, "a/old", b"old")
        for name in ("a/old", "a/new"):
            with pytest.raises(ZeroDivisionError), place.writing(name) as path:
                half_written(path)
        assert place.read("a/old") == b"old"
        assert not place.exists("a/new")
        assert place.names("a") == ["old"]

    def test_a_block_that_writes_nothing_is_refused(self, place):
        with pytest.raises(StoreError), place.writing("a/b"):
            pass
        assert not place.exists("a/b")

    def test_a_removed_file_is_gone_and_an_absent_one_may_be_removed(self, place):
        write(place, "a/b")
        write(place, "a/b2")
        place.remove("a/b")
        assert not place.exists("a/b")
        assert place.exists("a/b2")
        place.remove("a/b")
        place.remove("no/such")

    def test_files_written_at_once_are_all_there(self, place):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: write(place, f"a/{n}", str(n).encode()), range(24)))
            read = list(pool.map(lambda n: place.read(f"a/{n}"), range(24)))
        assert read == [str(number).encode() for number in range(24)]


class TestFolders:
    def test_a_folder_is_read_as_it_was_written(self, place):
        write_folder(place, "runs/a/student", weights=b"w", deep__file=b"d")
        write_folder(place, "runs/a/student2", weights=b"other")
        assert folder_of(place, "runs/a/student") == {"weights": b"w", "deep/file": b"d"}
        assert place.read("runs/a/student/weights") == b"w"

    def test_a_block_that_raises_leaves_no_folder(self, place):
        with pytest.raises(ZeroDivisionError), place.writing_folder("a/b") as path:
            half_written(path / "weights")
        assert not place.exists("a/b")

    def test_names_are_the_direct_children_sorted(self, place):
        for name in ("f/b", "f/a", "f/c/d/e", "f2/x", "f/c/g"):
            write(place, name)
        assert place.names("f") == ["a", "b", "c"]
        assert place.names("f/c") == ["d", "g"]
        assert place.names("none") == []
        assert place.names("f/a") == []
        assert place.names("") == ["f", "f2"]


class TestCreate:
    def test_the_first_content_stays(self, place):
        assert place.create("a/b", b"first")
        assert not place.create("a/b", b"second")
        assert place.read("a/b") == b"first"
        place.remove("a/b")
        assert place.create("a/b", b"third")

    def test_of_several_writers_one_succeeds(self, place):
        for attempt in range(5):
            barrier, name = Barrier(8), f"a/{attempt}"

            def create(number: int, barrier: Barrier = barrier, name: str = name) -> bool:
                barrier.wait(60)
                return place.create(name, str(number).encode())

            with ThreadPoolExecutor(8) as pool:
                created = list(pool.map(create, range(8)))
            assert created.count(True) == 1
            assert place.read(name) == str(created.index(True)).encode()


class TestSetAside:
    def test_files_and_folders_get_the_first_free_name(self, place):
        for number in (1, 2):
            write_folder(place, "runs/a/student", weights=b"w%d" % number)
            write(place, "runs/a/run.json", b"r%d" % number)
            assert place.set_aside("runs/a", "damaged") == f"runs/a.damaged-{number}"
            assert not place.exists("runs/a")
            write(place, "c/file", b"f%d" % number)
            assert place.set_aside("c/file", "old") == f"c/file.old-{number}"
        assert place.names("runs") == ["a.damaged-1", "a.damaged-2"]
        assert place.names("c") == ["file.old-1", "file.old-2"]
        assert place.read("c/file.old-2") == b"f2"
        assert folder_of(place, "runs/a.damaged-1") == {"student/weights": b"w1", "run.json": b"r1"}

    def test_what_lies_beside_stays(self, place):
        write(place, "runs/a/run.json")
        write(place, "runs/ab/run.json")
        place.set_aside("runs/a", "damaged")
        assert place.names("runs") == ["a.damaged-1", "ab"]

    def test_an_absent_one_is_no_error(self, place):
        place.set_aside("runs/a", "damaged")
        assert not place.exists("runs/a")


class TestPlace:
    def test_a_pickled_one_is_the_same_place(self, place):
        write(place, "a/b", b"content")
        again = pickle.loads(pickle.dumps(place))
        assert again.read("a/b") == b"content"
        assert again.where("a/b") == place.where("a/b")

    def test_it_is_writable_and_the_probe_is_gone(self, place):
        place.require_writable()
        assert place.names("") == []

    def test_it_says_where_a_file_is(self, place):
        assert place.where("a/b") == place.where().rstrip("/") + "/a/b"
        write(place, "a/b")
        again = open_place(place.where(), "--store")
        assert again.read("a/b") == b"content"


class TestStore:
    def test_a_run_is_found_with_its_student_when_it_is_finished(self, store):
        assert not store.has_run(KEY)
        store.begin_run(KEY, TRIAL.run_identity)
        assert not store.has_checkpoint(KEY)
        for content in (b"old", b"new"):
            store.save_checkpoint(KEY, lambda path, content=content: path.write_bytes(content))
        assert store.has_checkpoint(KEY)
        with store.checkpoint(KEY) as path:
            assert path.read_bytes() == b"new"
        assert list(store.identities()) == []
        finish_run(store, TRIAL)
        assert store.run(KEY) == run_record(TRIAL)
        assert not store.has_checkpoint(KEY)
        assert list(store.identities()) == [(KEY, TRIAL.run_identity)]
        with store.student(KEY) as path:
            assert (path / "weights").read_text() == KEY

    def test_an_evaluation_is_found_with_its_predictions(self, store):
        assert not store.has_evaluation(EVALUATION)
        rows = [prediction()]
        store.save_evaluation(
            EVALUATION, KEY, evaluation_record(), lambda path: write_predictions(path, rows)
        )
        assert store.has_evaluation(EVALUATION)
        assert store.evaluation(EVALUATION) == evaluation_record()
        store.discard_evaluation(EVALUATION)
        assert not store.has_evaluation(EVALUATION)

    def test_what_is_damaged_is_set_aside(self, store, place):
        finish_run(store, TRIAL)
        write(place, f"runs/{KEY}/run.json", b'{"half')
        assert not store.has_run(KEY)
        assert place.names("runs") == [f"{KEY}.damaged-1"]
        with pytest.raises(FileNotFoundError), store.student(KEY):
            pytest.fail("the student of a damaged run is not to be used")
        store.save_evaluation(
            EVALUATION, KEY, evaluation_record(), lambda path: path.write_bytes(b"PAR1")
        )
        assert store.has_evaluation(EVALUATION)
        write(place, f"evaluations/{EVALUATION}/predictions.parquet", b"PAR2")
        assert not store.has_evaluation(EVALUATION)
        assert place.names("evaluations") == [f"{EVALUATION}.damaged-1"]

    def test_a_student_that_is_not_the_stored_one_is_not_used(self, store, place):
        finish_run(store, TRIAL)
        [student] = [name for name in place.names(f"runs/{KEY}") if name.startswith("student-")]
        name = f"runs/{KEY}/{student}/weights"
        write(place, name, KEY[::-1].encode())
        # Of files that are elsewhere planning sees the sizes; whoever reads them sees the rest.
        with pytest.raises(DamagedError, match="weights has another SHA-256"), store.student(KEY):
            pytest.fail("other weights than were stored")
        write(place, name, b"short")
        assert not store.has_run(KEY)
        assert place.names("runs") == [f"{KEY}.damaged-1"]
        finish_run(store, TRIAL)
        [student] = [name for name in place.names(f"runs/{KEY}") if name.startswith("student-")]
        place.remove(f"runs/{KEY}/{student}/weights")
        assert not store.has_run(KEY)

    def test_a_search_knows_its_pruned_runs_until_it_is_discarded(self, store, place):
        assert not store.is_pruned("search", KEY)
        store.mark_pruned("search", KEY, history(3.0, None))
        assert store.is_pruned("search", KEY)
        assert store.pruned_history("search", KEY) == history(3.0, None)
        store.discard_search("search")
        store.discard_search("search")
        assert not store.is_pruned("search", KEY)
        assert place.names("searches") == ["search.old-1"]

    def test_a_simulator_is_kept(self, store):
        assert store.simulator("pool-v1") is None
        store.save_simulator("pool-v1", b"weights")
        assert store.simulator("pool-v1") == b"weights"


class TestRefusals:
    def refused(self, uri: str) -> str:
        with pytest.raises(StoreError) as refusal:
            open_place(uri, "--store").require_writable()
        return str(refusal.value)

    def test_a_missing_bucket_is_named(self, s3):
        assert self.refused("s3://no-such-bucket/store") == (
            "s3://no-such-bucket/store: must be readable and writable, got FileNotFoundError: "
            "The specified bucket does not exist; "
            "make the bucket first, or choose another with --store"
        )

    def test_nothing_is_written_to_a_missing_bucket(self, s3):
        place = open_place("s3://no-such-bucket/store", "--store")
        for attempt in (lambda: place.create("a", b""), lambda: write(place, "a")):
            with pytest.raises(StoreError, match="make the bucket first"):
                attempt()

    def test_a_uri_without_a_bucket(self):
        assert self.refused("s3://") == "--store: must name a bucket, got s3://; " + (
            "write s3://bucket/folder"
        )

    def test_missing_credentials_have_a_remedy(self, s3, monkeypatch, tmp_path):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        said = self.refused(s3)
        assert said.startswith(f"{s3}: must be readable and writable, got NoCredentialsError")
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said

    def test_a_place_that_does_not_answer_is_no_empty_place(self, s3, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        place = open_place(s3, "--store")
        calls: list[Callable[[], object]] = [
            lambda: place.exists("runs/a"),
            lambda: place.names("runs"),
            lambda: place.read("runs/a"),
            lambda: place.remove("runs/a"),
            lambda: place.create("runs/a", b""),
            place.require_writable,
        ]
        for call in calls:
            with pytest.raises(StoreError, match="check the network") as refusal:
                call()
            assert "Could not connect" in str(refusal.value)

    def test_a_place_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        assert self.refused(f"local://{tmp_path}/file/store").startswith(
            f"local://{tmp_path}/file/store: must be readable and writable, got "
        )

    def test_an_unknown_protocol(self):
        said = self.refused("nowhere://bucket/store")
        assert said.startswith("--store: must be a folder or a URI that fsspec can open")
        assert "Protocol not known: nowhere" in said

    @pytest.mark.parametrize(
        ("uri", "remedy"),
        [
            ("s3://bucket/store", "pip install 'tune_distill[s3]'"),
            ("gs://bucket/store", "pip install 'tune_distill[gs]'"),
            ("az://bucket/store", "Install adlfs to access Azure"),
        ],
    )
    def test_a_missing_package(self, uri, remedy, monkeypatch):
        # fsspec keeps the classes that it has found, and shows them under its module's name.
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, uri[:2], raising=False)
        for package in ("s3fs", "gcsfs", "adlfs"):
            monkeypatch.setitem(sys.modules, package, None)
        said = self.refused(uri)
        scheme = uri.partition(":")[0]
        assert said.startswith(f"--store: {scheme}:// needs a package that is not installed, got")
        assert remedy in said

    def test_a_password_is_not_shown(self):
        place = ObjectStore.open("memory://user:secret@host/store", "--store")
        assert place.where("a") == "memory://user:***@host/store/a"


class TestOpenPlace:
    def test_a_path_and_a_file_uri_are_folders_of_this_machine(self, tmp_path):
        for uri in (str(tmp_path), f"file://{tmp_path}"):
            place = open_place(uri, "--store")
            assert isinstance(place, Folder)
            assert place.root == tmp_path

    def test_another_machine_has_no_local_path(self):
        with pytest.raises(StoreError, match="file:///absolute/path"):
            local_path("file://host/path", "--store")

    def test_a_relative_path_is_made_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert local_path("store", "--store") == Path(tmp_path / "store")
