"""Planted studies that the tests of figures and reports share."""

from tests.analysis.conftest import studies  # noqa: F401
