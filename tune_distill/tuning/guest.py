"""Restores what Ray changes in its process: environment, signals, hooks, limits and loggers."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tune_distill.tuning.signals import signals_kept

_OURS = ("RAY_", "TUNE_", "PYTHONBREAKPOINT", "TOKENIZERS_PARALLELISM")
"""Prefixes of the environment variables that Ray, Tune or we set."""


@contextmanager
def environment_kept(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set the variables that are unset to these defaults; restore all of Ray's after the block."""
    before = _variables()
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in _variables().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def process_kept() -> Iterator[None]:
    """Restore signals, hooks and limits after the block."""
    hook, had_faulthandler = sys.excepthook, faulthandler.is_enabled()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with signals_kept():
        try:
            yield
        finally:
            sys.excepthook = hook
            if not had_faulthandler:
                faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextmanager
def loggers_kept() -> Iterator[None]:
    """Restore, after the block, the loggers that Ray made when it was imported."""
    loggers = {name: _state(logging.getLogger(name)) for name in _ray_loggers()}
    try:
        yield
    finally:
        for name, (level, propagate, handlers) in loggers.items():
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.propagate, logger.handlers[:] = propagate, handlers


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_OURS)}


def _ray_loggers() -> list[str]:
    known = logging.root.manager.loggerDict
    return [name for name in known if name == "ray" or name.startswith("ray.")]


def _state(logger: logging.Logger) -> tuple[int, bool, list[logging.Handler]]:
    return logger.level, logger.propagate, list(logger.handlers)
