"""Fixtures: a temporary home, in which Ray looks for a token."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a home without a token, in an environment without variables of Ray."""
    for name in os.environ:
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def default(home):
    """Return the default path of a token."""
    (home / ".ray").mkdir()
    return home / ".ray" / "auth_token"
