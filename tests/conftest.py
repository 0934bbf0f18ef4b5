"""Shared fixtures, and the order of tests: quick ones first."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.tiny import mini_examples, save_tiny_t5


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run quick tests before slow ones and proofs, so that a broken change shows soon."""
    items.sort(key=lambda item: any(map(item.get_closest_marker, ("slow", "proof"))))


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
