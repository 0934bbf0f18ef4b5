"""Ray Tune hyperparameter studies for distilling explanations into small students."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_distill.analysis.tables import load, load_all
    from tune_distill.reports.reports import verdict
    from tune_distill.running import run

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_all", "run", "verdict"]

_HOMES = {
    "load": "tune_distill.analysis.tables",
    "load_all": "tune_distill.analysis.tables",
    "run": "tune_distill.running",
    "verdict": "tune_distill.reports.reports",
}


def __getattr__(name: str) -> Any:
    # Importing pandas and pyarrow takes half a second, which `--help` does not need.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
