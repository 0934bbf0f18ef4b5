import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tune_distill.records import environment as module
from tune_distill.records.environment import (
    environment,
    environment_text,
    is_damaged,
    read_environment,
)
from tune_distill.records.files import write_text
from tune_distill.spec.errors import StoreError


def test_versions_and_the_machine_are_named():
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["num_cpus"] == os.cpu_count()
    for name in ("torch", "ray", "scikit-learn", "numpy"):
        assert found["packages"][name] == metadata.version(name)


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGES", ("numpy", "no-such-package"))
    assert environment()["packages"] == {
        "numpy": metadata.version("numpy"),
        "no-such-package": None,
    }


def test_the_file_holds_it_all_and_what_the_caller_adds(tmp_path):
    write_text(
        tmp_path / "smoothing" / "environment.json", environment_text({"nodes": [{"CPU": 2.0}]})
    )
    content = json.loads((tmp_path / "smoothing" / "environment.json").read_text())
    assert content == environment() | {"nodes": [{"CPU": 2.0}]}


def test_our_file_is_read_back_and_an_absent_one_is_not_damaged(tmp_path):
    path = tmp_path / "environment.json"
    assert not is_damaged(path)
    write_text(tmp_path / "environment.json", environment_text({"nodes": []}))
    assert not is_damaged(path)
    assert read_environment(path).packages == environment()["packages"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"python": 1}', "\0" * 9, "[" * 10**5]
)
def test_a_file_that_was_cut_or_edited_is_damaged(tmp_path, content):
    path = tmp_path / "environment.json"
    path.write_text(content)
    assert is_damaged(path)
    with pytest.raises(StoreError, match=r"must be as tune_distill.study wrote it, got .*; copy"):
        read_environment(path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_a_clone_with_a_plus_where_files_were_changed(tmp_path, monkeypatch):
    source = tmp_path / "clone" / "tune_distill" / "records" / "environment.py"
    source.parent.mkdir(parents=True)
    source.write_text("committed")
    monkeypatch.setattr(module, "__file__", str(source))
    assert environment()["git_commit"] is None

    clone = tmp_path / "clone"
    git(clone, "init", "--quiet")
    assert environment()["git_commit"] is None  # nothing is committed yet
    git(clone, "add", ".")
    git(clone, "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "first")
    commit = git(clone, "rev-parse", "HEAD")
    assert environment()["git_commit"] == commit
    (clone / "results").write_text("an untracked file changes nothing")
    assert environment()["git_commit"] == commit
    source.write_text("changed")
    assert environment()["git_commit"] == f"{commit}+"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "environment.py"))
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
