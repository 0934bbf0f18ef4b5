"""The URIs of --store and --results, and the errors for places that cannot be used."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.records.places import write
from tune_distill.records.clouds import quiet
from tune_distill.records.objects import ObjectStore
from tune_distill.records.places import Folder
from tune_distill.records.uris import local_path, open_place
from tune_distill.spec import redaction
from tune_distill.spec.errors import StoreError


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Forget the secrets that a test has registered, so that other tests do not hide them."""
    monkeypatch.setattr(redaction, "_told", set())


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

    def test_a_place_that_does_not_answer_is_not_taken_for_empty(self, s3, monkeypatch):
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
        # fsspec caches the classes that it has found in its registry.
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

    @pytest.mark.parametrize("uri", ["nowhere://user:secret@host/x", "s3://k:secret@"])
    def test_a_refusal_shows_no_password(self, uri):
        assert "secret" not in self.refused(uri)

    def test_keys_in_a_clients_error_are_not_shown(self, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENG")
        place = ObjectStore.open("memory://store", "--store")

        def refuse(*arguments, **options):
            raise OSError("signed with wJalrXUtnFEMIK7MDENG")

        monkeypatch.setattr(place._system, "cat_file", refuse)
        with pytest.raises(StoreError, match=r"signed with \*\*\*"):
            place.read("a")

    def test_loggers_are_as_they_were(self):
        """`quiet` silences a file system's logger in its blocks only."""
        gcsfs = logging.getLogger("gcsfs")
        gcsfs.setLevel(logging.INFO)
        place = ObjectStore.open("memory://store", "--store")
        with quiet():
            assert place.names("a") == []
            assert gcsfs.level == logging.CRITICAL
        assert gcsfs.level == logging.INFO
        gcsfs.setLevel(logging.NOTSET)

    def test_loggers_are_as_they_were_after_threads(self):
        barrier = Barrier(8)

        def use(_):
            barrier.wait(60)
            with quiet():
                pass

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(8)))
        assert logging.getLogger("gcsfs").level == logging.NOTSET


class TestOpenPlace:
    def test_a_path_and_a_file_uri_are_folders_of_this_machine(self, tmp_path):
        for uri in (str(tmp_path), f"file://{tmp_path}"):
            place = open_place(uri, "--store")
            assert isinstance(place, Folder)
            assert place.root == tmp_path

    def test_a_file_uri_of_another_machine_is_refused(self):
        with pytest.raises(StoreError, match="file:///absolute/path"):
            local_path("file://host/path", "--store")

    def test_a_path_has_no_nul(self):
        with pytest.raises(StoreError, match="must be without NUL"):
            local_path("file:///a%00b", "--store")

    def test_a_relative_path_is_made_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert local_path("store", "--store") == Path(tmp_path / "store")
