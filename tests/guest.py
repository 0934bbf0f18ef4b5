"""Process-wide settings, and a check that the package does not change them.

    python -m tests.guest WHAT

prints as JSON which of them all imports and WHAT have changed. WHAT is, with a results folder,
"study", or "reports", which starts no Ray.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import locale
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "tune_distill"

# So small that Ray's start takes most of the time, but with more than one evaluation.
SMALL = [
    f"--set={field}"
    for field in (
        "data.num_train=48",
        "data.num_validation=24",
        "train.num_epochs=1",
        "train.eval_steps=2",
        "decode.max_new_tokens=12",
    )
]

# Runs without Ray, for tests of what does not depend on the executor.
INLINE = [*SMALL, "--executor", "inline"]


def settings() -> dict[str, Any]:
    """Return each setting by its name, to be compared with a later state."""
    import pandas as pd
    import torch

    status = Path("/proc/self/status").read_text().splitlines()
    root = logging.getLogger()
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return {
        "umask": [line for line in status if line.startswith("Umask")],
        **{f"environ {name}": value for name, value in os.environ.items()},
        "cwd": os.getcwd(),
        "sys.path": list(sys.path),
        "sys.excepthook": _named(sys.excepthook),
        "threading.excepthook": _named(threading.excepthook),
        "sys.stdout": id(sys.stdout),
        "sys.stderr": id(sys.stderr),
        "recursion limit": sys.getrecursionlimit(),
        "root logger": [root.level, len(root.handlers), logging.root.manager.disable],
        **{f"logger {name}": state for name, state in _loggers().items()},
        **{f"signal {number.name}": _named(signal.getsignal(number)) for number in signal.Signals},
        "wakeup descriptor": wakeup,
        "gc": [gc.isenabled(), gc.get_freeze_count(), gc.get_threshold(), len(gc.callbacks)],
        "warnings.filters": [str(each) for each in warnings.filters],
        "locale": locale.setlocale(locale.LC_ALL),
        "torch": [
            torch.get_num_threads(),
            str(torch.get_default_dtype()),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(),
        ],
        "pandas": str({name: pd.get_option(name) for name in _pandas_options()}),
        "threads": sorted(thread.name for thread in threading.enumerate() if not thread.daemon),
    }


def _named(handler: Any) -> str:
    return getattr(handler, "__qualname__", None) or str(handler)


def _loggers() -> dict[str, list[Any]]:
    return {
        name: [logger.level, len(logger.handlers), logger.propagate, logger.disabled]
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }


def _pandas_options() -> list[str]:
    return ["display.max_rows", "display.max_columns", "display.width"]


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """Return changed settings with both values, without new loggers."""
    names = {name for name in before | after if name in before or not name.startswith("logger ")}
    return {
        name: [before.get(name), after.get(name)]
        for name in sorted(names)
        if before.get(name) != after.get(name)
    }


def import_what_it_needs() -> None:
    """Import all modules of other packages that ours import, which may change settings."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    _import(alias.name, [])
            elif isinstance(node, ast.ImportFrom) and node.module:
                _import(node.module, [alias.name for alias in node.names])


def _import(module: str, names: list[str]) -> None:
    if module.startswith("tune_distill"):
        return
    # Extras may not be installed.
    with contextlib.suppress(ImportError):
        imported = importlib.import_module(module)
        for name in names:
            # Some packages import their modules lazily.
            if not hasattr(imported, name):
                importlib.import_module(f"{module}.{name}")


def import_all() -> None:
    """Import every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))


def run_study(results: str) -> None:
    """Run a study, the same study again from the store, and its report."""
    from tune_distill import study

    arguments = ["smoothing", *SMALL, "--max-concurrent", "1", "--results", results]
    assert study.main(arguments) == 0
    assert study.main([*arguments, "--json"]) == 0
    run_reports(results)


def run_reports(results: str) -> None:
    """Make a plan, a report and an error, and call what a notebook calls."""
    import tune_distill
    from tune_distill import report, study

    assert study.main(["all", "--dry-run", "--results", results]) == 0
    assert report.main([results]) == 0
    assert study.main(["no-such-study", "--results", results]) == 2
    tune_distill.load("smoothing", results=results)
    tune_distill.load_all(results=results)
    tune_distill.verdict("smoothing", results=results)


def main(what: str, *arguments: str) -> None:
    import_what_it_needs()
    before = settings()
    import_all()
    {"study": run_study, "reports": run_reports}[what](*arguments)
    print("\n" + json.dumps(changed(before, settings())))


if __name__ == "__main__":
    main(*sys.argv[1:])
