"""Checks from processes and sockets that Ray still runs, tested without Ray."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.processes import free_port, wait_until
from tune_distill.tuning.alive import Head, OwnProcesses
from tune_distill.tuning.keeper import StartError, kept


def started(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a child process whose program has this name, like one of Ray's."""
    program = folder / name
    if not program.exists():
        program.symlink_to("/bin/sleep")
    return subprocess.Popen([program, "100"])


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_death_of_an_essential_process_is_noticed(tmp_path, name):
    earlier = started(tmp_path, name)
    processes = OwnProcesses(tmp_path)
    child = started(tmp_path, name)
    # Right after the fork, the child still has this process's name.
    comm = Path(f"/proc/{child.pid}/comm")
    wait_until(lambda: comm.read_text().strip() == name, "the child's program")
    try:
        assert processes.ended() is None
        # This process belongs to another Ray.
        earlier.kill()
        earlier.wait()
        assert processes.ended() is None
        child.kill()
        wait_until(lambda: processes.ended() is not None, "the news")
        assert processes.ended() == f"its process {name} (pid {child.pid}) has ended"
    finally:
        child.kill()
        child.wait()
    # The process is missed even after it was reaped.
    assert processes.ended() == f"its process {name} (pid {child.pid}) has ended"


def test_only_processes_of_rays_package_are_killed(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    processes = OwnProcesses(package)
    rays, other = started(package, "raylet"), started(tmp_path, "other")
    try:
        processes.kill()
        assert rays.wait(30) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for child in (rays, other):
            child.kill()
            child.wait()


def test_a_head_is_lost_after_half_a_minute_of_silence():
    now_s = [0.0]
    with socket.create_server(("127.0.0.1", free_port())) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", clock=lambda: now_s[0])
        for now_s[0] in (1.0, 40.0, 80.0):
            assert head.ended() is None
    for now_s[0] in (81.0, 90.0, 109.0):
        assert head.ended() is None
    now_s[0] = 111.0
    assert str(head.ended()).endswith("did not answer for 31 s")


class Silent:
    """A watch of a Ray that runs."""

    def ended(self) -> str | None:
        return None


def test_a_start_is_given_up_if_a_process_dies_while_ray_waits(tmp_path):
    processes, waits = OwnProcesses(tmp_path), threading.Event()

    def start() -> None:
        child = started(tmp_path, "raylet")
        wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "raylet\n", "a raylet")
        # Like a raylet that finds no space for its files.
        os.kill(child.pid, signal.SIGKILL)
        waits.wait()
        child.wait()

    with (
        pytest.raises(StartError, match=r"its process raylet .* has ended"),
        kept(start, lambda: None, processes, Silent()),
    ):
        pass
    assert not waits.is_set()
    waits.set()


def test_errors_of_a_start_are_raised_and_a_started_ray_is_ended(tmp_path):
    processes, order = OwnProcesses(tmp_path), []
    with (
        pytest.raises(SystemExit),
        kept(lambda: sys.exit(3), lambda: order.append("end"), processes, Silent()),
    ):
        order.append("block")
    assert order == []

    def append(what: str) -> None:
        order.append((what, threading.current_thread().name))

    with kept(lambda: append("start"), lambda: append("end"), processes, Silent()):
        order.append("block")
    assert order == [("start", "ray"), "block", ("end", "ray")]


HELD = """
import gc
from tune_distill.tuning.alive import RayLostError

class Group:
    def __del__(self):
        print("asks Ray")

def lose():
    group = Group()
    group.cycle = group
    raise RayLostError("lost")

try:
    lose()
except RayLostError as error:
    if {keeps}:
        error.keep_all()
gc.collect()
print("collected")
"""


@pytest.mark.parametrize(
    ("keeps", "lines"), [(True, ["collected"]), (False, ["asks Ray", "collected"])]
)
def test_objects_that_refer_to_a_lost_ray_are_not_destroyed(keeps, lines):
    # If they were destroyed, the command would wait for a dead gcs_server for ever.
    script = HELD.format(keeps=keeps)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.split("\n")[:-1], done.stderr) == (lines, "")
