"""No other user and no other machine can reach a Ray that is started here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tune_distill.tuning import own_ray
from tune_distill.tuning.own_ray import private_options

USERS = {"RAY_AUTH_TOKEN": "users-own-token", "RAY_AUTH_TOKEN_PATH": "/users/own"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return a short folder for temporary files, in an environment without variables of Ray."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        yield Path(short)


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_files_are_private_and_removed_after_the_block(folder):
    with private_options() as options:
        [own] = folder.iterdir()
        assert mode(own) == 0o700
        assert Path(options["_temp_dir"]).parent == own
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.parent == own
        assert mode(token) == 0o600
        assert len(token.read_text()) == 64
        assert options["include_dashboard"] is False
    assert list(folder.iterdir()) == []


def test_the_environment_is_restored(monkeypatch):
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with private_options():
        assert "RAY_AUTH_TOKEN" not in os.environ
        # Ray sets this variable.
        os.environ["RAY_AUTH_MODE"] = "token"
    assert dict(os.environ) == before


def test_a_second_ray_of_the_process_has_the_same_token():
    texts = []
    for _ in range(2):
        with private_options():
            texts.append(Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text())
    assert texts[0] == texts[1]


def test_folders_of_killed_commands_are_removed(folder):
    left = folder / "td-ray-00000000"
    left.mkdir()
    (left / "auth_token").touch()
    with private_options(), private_options():
        assert not left.exists()
        assert len(list(folder.iterdir())) == 2


def test_the_paths_of_sockets_are_short_enough(folder, monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    for chosen in (deep, folder):
        monkeypatch.setenv("RAY_TMPDIR", str(chosen))
        root = own_ray._root()
        assert len(f"{root}/td-ray-12345678/{own_ray._SOCKET}") <= 107
    assert root == folder


LISTENING = """
import json, os, stat, sys
from pathlib import Path
import psutil
if sys.argv[1] == "imported":
    import ray
from tune_distill.tuning.cluster import running_ray

with running_ray(None):
    import ray

    @ray.remote
    def working():
        return 1

    ray.get(working.remote())
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    listening = {
        address.laddr.ip
        for process in processes
        for address in process.net_connections(kind="inet")
        if address.status == psutil.CONN_LISTEN
    }
    temp = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent
    commands = [" ".join(process.cmdline()) for process in processes]
    told = {
        "listening": sorted(listening),
        "names": sorted({process.name() for process in processes}),
        "mode": stat.S_IMODE(temp.stat().st_mode),
        "folder": str(temp),
        "token": (temp / "auth_token").read_text(),
        "commands": commands,
        "nodes": [node["NodeManagerAddress"] for node in ray.nodes()],
    }
told["left"] = temp.exists()
told["environment"] = {k: v for k, v in os.environ.items() if k.startswith("RAY_AUTH")}
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ["imported", pytest.param("not imported", marks=pytest.mark.proof)]
)
def test_ray_listens_on_loopback_only_and_leaves_nothing(folder, tmp_path, order):
    """No other machine reaches a port, no other user a file, and no token is in the home folder."""
    done = subprocess.run(
        [sys.executable, "-c", LISTENING, order],
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert "raylet" in told["names"]
    assert "gcs_server" in told["names"]
    assert {address.removeprefix("::ffff:") for address in told["listening"]} == {"127.0.0.1"}
    assert told["nodes"] == ["127.0.0.1"]
    assert told["mode"] == 0o700
    assert told["folder"].startswith(str(folder))
    assert not any(told["token"] in command for command in told["commands"])
    assert not told["left"]
    assert told["environment"] == {}
    assert not (tmp_path / ".ray").exists()
