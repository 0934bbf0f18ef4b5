"""Ray Tune hyperparameter studies for distilling explanations into small students."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_distill.analysis.tables import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # pandas and pyarrow cost half a second that `--help` need not pay.
    if name == "load":
        from tune_distill.analysis.tables import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
