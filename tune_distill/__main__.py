"""Front door: `tune-distill COMMAND` and `python -m tune_distill COMMAND`.

The commands are those of `python -m tune_distill.study`, `.submit` and `.report`. Without one of
their names, the arguments go to `study`, so `tune-distill smoothing` runs that study.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from tune_distill import __version__
from tune_distill.cli.terminal import run_as_process, run_front_door

COMMANDS = {
    "study": "run ablation studies here or on a Ray cluster that is joined",
    "submit": "run them as a job on a Ray cluster, look after it and fetch its tables",
    "report": "make the reports of a results folder again",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "--version"):
        return run_front_door(lambda: _say(given), "interrupted")
    command = given.pop(0) if given[0] in COMMANDS else "study"
    code: int = import_module(f"tune_distill.{command}").main(given)
    return code


def run() -> NoReturn:
    """Run `main` and end the process with its exit code, for the console script."""
    run_as_process(main)


def _say(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tune-distill",
        usage="tune-distill COMMAND [arguments]",
        description="Ablation studies of small students that learn a teacher's answers and "
        "explanations. Each command has a --help of its own.",
        epilog="\n".join(["commands:", *(f"  {name:8} {does}" for name, does in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tune_distill {__version__}")
    parser.parse_args(given or ["--help"])
    raise AssertionError("argparse ends the process for each of these arguments")


if __name__ == "__main__":
    run()
