"""Imports leave packages and the garbage collector as they were."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys

import pytest

from tune_distill.tuning.imports import no_garbage, unseen


def test_packages_are_not_found_and_then_are() -> None:
    assert "tabnanny" not in sys.modules
    with unseen("tabnanny", "json"):
        with pytest.raises(ImportError):
            importlib.import_module("tabnanny")
        # What is there already stays.
        assert importlib.import_module("json").dumps({}) == "{}"
    assert importlib.import_module("tabnanny").check


def test_the_collector_goes_on_after_an_error() -> None:
    assert gc.isenabled()
    enabled = []

    def fail() -> None:
        with no_garbage():
            enabled.append(gc.isenabled())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [*enabled, gc.isenabled()] == [False, True]


def test_workers_import_neither_transformers_nor_scikit_learn() -> None:
    code = (
        "import sys; from tune_distill.tuning.trainable import _import_science; _import_science();"
        "print(sorted({'transformers', 'sklearn', 'scipy', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
