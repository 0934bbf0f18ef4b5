"""SIGTERM and Ctrl-C, sent to real processes."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from tests.processes import processes, wait_until
from tune_distill.tuning.signals import ended_by_signals, signals_kept

PROGRAM = """
import signal, sys, time
from tune_distill.tuning.signals import ended_by_signals, signals_kept, ended_by_signals
{before}
try:
    with ended_by_signals():
        {block}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
WAIT = "print('ready', flush=True); time.sleep(1000)"


def ran(block: str = WAIT, before: str = "") -> str:
    """Return what a program with this block prints after SIGTERM."""
    program = PROGRAM.format(before=before, block=block)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    return printed


def ended(process: subprocess.Popen[str], number: signal.Signals) -> int:
    """Send the signal each half second until the process ends; return its exit code.

    One signal is enough unless the process got no CPU time since the signal before.
    """
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=0.5)
    raise AssertionError("the process did not end")


def test_sigterm_does_what_ctrl_c_does():
    assert ran() == "interrupted\n"


def test_sigterm_interrupts_even_if_a_shell_ignores_ctrl_c():
    assert ran(before="signal.signal(signal.SIGINT, signal.SIG_IGN)") == "interrupted\n"


def test_sigterm_calls_the_present_handler_of_ctrl_c():
    handler = "signal.signal(signal.SIGINT, lambda *_: sys.exit(print('handled', flush=True)))"
    assert ran(before=handler) == "handled\n"


def test_a_signal_sent_twice_at_once_counts_as_one():
    # `timeout` sends a signal both to the process and to its group.
    block = """
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            time.sleep(1)
            print("tables", flush=True)
    """.strip()
    assert ran(block, "import contextlib") == "tables\n"


MUTEX = "MUTEX = ctypes.create_string_buffer(64)"
# Simulates a command whose code catches every Ctrl-C and goes on.
DEAF = "signal.signal(signal.SIGINT, lambda *_: None)"
STUCK = {
    "in a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "at a thread's end": "t = threading.Thread(target=time.sleep, args=[999]); t.start(); t.join()",
    # Python's handlers do not run in these.
    "in a library": "lock = ctypes.CDLL(None).pthread_mutex_lock; lock(MUTEX); lock(MUTEX)",
    "in a lock on a file": "fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX)",
    "in what is written": "[os.write(1, b'x' * 2**20) for _ in range(99)]",
    "in a loop that keeps on": "time.sleep(1000)",
}


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM,) * 2])
@pytest.mark.parametrize("where", STUCK)
def test_the_second_signal_ends_a_command_that_hangs(where, numbers, tmp_path):
    block = f"print('ready', flush=True); {STUCK[where]}"
    before = f"import ctypes, fcntl, os, threading; {MUTEX}; {DEAF}"
    program = PROGRAM.format(before=before, block=block)
    path = tmp_path / "lock"
    with (
        path.open("w") as held,
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(numbers[0])
            time.sleep(0.5)
            assert process.poll() is None
            assert ended(process, numbers[1]) == 1
        finally:
            process.kill()


def test_the_second_signal_kills_child_processes(tmp_path):
    """Otherwise Ray's processes would go on, and keep CPUs and memory."""
    block = """
        import os, subprocess
        script = "setsid sleep 1000 & echo $! > pid; wait"
        subprocess.Popen(["sh", "-c", script], cwd=sys.argv[1], stdout=subprocess.DEVNULL)
        print("ready", flush=True)
        time.sleep(1000)
    """.strip()
    program = [sys.executable, "-c", PROGRAM.format(before=DEAF, block=block), str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        path = tmp_path / "pid"
        wait_until(lambda: path.exists() and path.read_text().strip() != "", "the grandchild")
        assert ended(process, signal.SIGTERM) == 1
    pid = int(path.read_text())
    wait_until(lambda: pid not in {each.pid for each in processes()}, "the grandchild's end", 30)


def test_a_blocked_last_message_is_given_up():
    say = "say_last = lambda: (print('last', flush=True), time.sleep(1000))"
    program = PROGRAM.format(before=f"{say}; {DEAF}", block=WAIT)
    program = program.replace("ended_by_signals()", "ended_by_signals(say_last)")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert ended(process, signal.SIGTERM) == 1
        assert process.stdout.read().splitlines()[-1] == "last"


def test_thread_and_pipe_are_closed_after_the_block():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads, wakeup = threading.active_count(), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with ended_by_signals():
        assert threading.active_count() == threads + 1
    assert {number: signal.getsignal(number) for number in before} == before
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(wakeup) == wakeup


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_handlers_are_restored(number):
    before = signal.getsignal(number)
    with signals_kept():
        signal.signal(number, signal.SIG_IGN)
    assert signal.getsignal(number) is before
