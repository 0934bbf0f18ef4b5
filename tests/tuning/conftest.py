"""Where Ray looks for a token: a home of the test's own."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without a token, in an environment that says nothing of Ray."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def default(home):
    """Where a copied token lies."""
    (home / ".ray").mkdir()
    return home / ".ray" / "auth_token"
