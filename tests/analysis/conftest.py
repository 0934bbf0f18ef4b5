"""Planted studies that the tests of figures and reports share."""

from __future__ import annotations

import pytest

from tests.analysis.made_studies import Studies


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return Studies(tmp_path_factory.mktemp("studies"))
