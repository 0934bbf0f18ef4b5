"""Changes that Ray makes to its process are undone."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import sys

from tune_distill.tuning.guest import environment_kept, loggers_kept, process_kept


def test_variables_are_set_in_the_block_and_restored_after_it(monkeypatch):
    monkeypatch.setenv("TUNE_ONE", "the user's")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("OTHERS", "1")
    before = dict(os.environ)
    with environment_kept({"TUNE_ONE": "0", "RAY_TWO": "2"}):
        assert (os.environ["TUNE_ONE"], os.environ["RAY_TWO"]) == ("the user's", "2")
        # Ray sets these variables.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["PYTHONBREAKPOINT"] = "ray.util.rpdb.set_trace"
        # Another thread may set this variable, which must stay.
        monkeypatch.setenv("OTHERS", "2")
    assert dict(os.environ) == before | {"OTHERS": "2"}


def test_signals_hooks_loggers_and_limits_are_restored():
    logger = logging.getLogger("ray.tune")
    logger.setLevel(logging.INFO)
    had_faulthandler = faulthandler.is_enabled()

    def state() -> list[object]:
        return [
            signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGINT),
            sys.excepthook,
            faulthandler.is_enabled(),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            (logger.level, logger.propagate, list(logger.handlers)),
        ]

    try:
        faulthandler.disable()
        before = state()
        with process_kept(), loggers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.excepthook = print
            faulthandler.enable()
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
            logger.setLevel(logging.CRITICAL)
            logger.propagate = False
            logger.addHandler(logging.NullHandler())
        assert state() == before
    finally:
        if had_faulthandler:
            faulthandler.enable()
        logger.setLevel(logging.NOTSET)
