"""Shared fixtures, and the order of tests."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.tiny import mini_examples, save_tiny_t5
from tune_distill.training import inputs


def pytest_configure() -> None:
    """Switch Ctrl-C on, because some tests interrupt processes.

    A shell that starts tests in the background switches it off for them and all their processes.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # On a busy machine an example may take long although nothing is wrong.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if all tests were requested and one was skipped for a reason other than a GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or "TUNE_DISTILL_ALL_TESTS" not in os.environ:
        return
    # The longrepr of a skipped test is its file, line and reason.
    reasons = {str(report.longrepr) for report in reporter.stats.get("skipped", [])}
    if unasked := sorted(reason for reason in reasons if "GPU" not in reason):
        reporter.write_line(f"skipped, though all tests are asked for: {'; '.join(unasked)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


QUICK_FILES = 3
"""So many files of quick tests follow each file with slow ones."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix files of quick tests and files with slow ones; within a file, quick tests come first.

    A broken change then shows soon, and processes that slow tests wait for leave no core idle.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    for tests in files.values():
        tests.sort(key=_is_slow)
    slow = [tests for tests in files.values() if _is_slow(tests[-1])]
    quick = iter([tests for tests in files.values() if not _is_slow(tests[-1])])
    mixed = [file for tests in slow for file in (tests, *itertools.islice(quick, QUICK_FILES))]
    items[:] = itertools.chain.from_iterable([*mixed, *quick])


def _is_slow(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, ("slow", "proof")))


@pytest.fixture(scope="session", autouse=True)
def shared_simulators() -> Iterator[None]:
    """Fit each training pool's simulator once a session: a process for each takes two seconds."""
    fit = functools.cache(inputs.fit_simulator_apart)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            inputs, "fit_simulator_apart", lambda texts, labels: fit(tuple(texts), tuple(labels))
        )
        yield


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Seed the process's generators, so that no test depends on the draws of earlier ones."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):  # the tests of the command's start run without it
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a real, tiny T5 and its tokenizer."""
    folder = tmp_path_factory.mktemp("students") / "tiny"
    return save_tiny_t5(folder, mini_examples("train", 200))


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all variables of Ray from the environment."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
