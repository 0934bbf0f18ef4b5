import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tune_distill.records import environment as module
from tune_distill.records.environment import environment, write_environment


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
    write_environment(tmp_path / "smoothing", {"nodes": [{"CPU": 2.0}]})
    content = json.loads((tmp_path / "smoothing" / "environment.json").read_text())
    assert content == environment() | {"nodes": [{"CPU": 2.0}]}


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
