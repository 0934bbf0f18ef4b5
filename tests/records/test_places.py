"""The contract of places, for every kind of place."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.records.places import folder_of, half_written, write, write_folder
from tune_distill.records.uris import open_place
from tune_distill.spec.errors import StoreError


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

    def test_files_may_be_written_by_several_threads(self, place):
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

    def test_neighbours_of_a_file_set_aside_stay(self, place):
        write(place, "runs/a/run.json")
        write(place, "runs/ab/run.json")
        place.set_aside("runs/a", "damaged")
        assert place.names("runs") == ["a.damaged-1", "ab"]

    def test_setting_an_absent_file_aside_is_no_error(self, place):
        place.set_aside("runs/a", "damaged")
        assert not place.exists("runs/a")


class TestPlace:
    def test_an_unpickled_place_is_the_same_place(self, place):
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
