"""SIGTERM and Ctrl-C, sent to real processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tune_distill.tuning.signals import signals_kept

PROGRAM = """
import signal, sys, time
from tune_distill.tuning.signals import signals_kept, terminated_like_interrupted
{before}
try:
    with terminated_like_interrupted():
        {block}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
WAIT = "print('ready', flush=True); time.sleep(1000)"


def ran(block: str = WAIT, before: str = "") -> str:
    """What such a program prints when SIGTERM has come."""
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


def test_sigterm_does_what_ctrl_c_does():
    assert ran() == "interrupted\n"


def test_also_where_a_shell_switched_ctrl_c_off():
    assert ran(before="signal.signal(signal.SIGINT, signal.SIG_IGN)") == "interrupted\n"


def test_it_goes_to_whoever_handles_ctrl_c():
    handler = "signal.signal(signal.SIGINT, lambda *_: sys.exit(print('handled', flush=True)))"
    assert ran(before=handler) == "handled\n"


def test_the_second_one_is_of_no_account():
    block = """
        try:
            print("ready", flush=True)
            time.sleep(1000)
        except KeyboardInterrupt:
            with signals_kept():
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            print("tables", flush=True)
    """.strip()
    assert ran(block) == "tables\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_handlers_are_given_back(number):
    before = signal.getsignal(number)
    with signals_kept():
        signal.signal(number, signal.SIG_IGN)
    assert signal.getsignal(number) is before
