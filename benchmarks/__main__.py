"""`python -m benchmarks NAME` measures, prints a table, and fails where a promise does not hold."""

from __future__ import annotations

import argparse
import compileall
import importlib
import sys
from pathlib import Path

import benchmarks
import tune_distill

BENCHMARKS = {
    "decode": "all settings of the decoding study, against separate calls of generate",
    "overhead": "time per trial that does nothing, to a first step, of a study that is all reused",
    "runner": "does the driver keep up: 1,000 trials that do nothing, against 100",
    "scale": "planning, looking up, writing and judging of 100 to 100,000 trials",
    "step": "a step at flan-t5-small's shape, against HF's Trainer and the machine's limit",
    "suite": "all six studies, against Ray Tune where every trial trains",
    "study": "the smoothing study, against the notebook's loop and HF's Trainer in Ray Tune",
    "verify": "what hashing and checking stored files takes of a trial at flan-t5-small's shape",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, help_ in BENCHMARKS.items():
        sub = names.add_parser(name, help=help_)
        sub.add_argument("--json", metavar="FILE", help="the figures, with machine and versions")
        sub.add_argument(
            "--data", default="mini-nli", metavar="SOURCE", help="mini-nli, or e-SNLI's folder"
        )
        sub.add_argument("--rounds", type=int, default=3, metavar="N", help="how often (3)")
    given = parser.parse_args()
    # As installed packages are: the first round of a fresh clone would compile all modules.
    for package in (tune_distill, benchmarks):
        compileall.compile_dir(Path(package.__file__ or "").parent, quiet=1)
    exit_code: int = importlib.import_module(f"benchmarks.{given.name}").main(given)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
