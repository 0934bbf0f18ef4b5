"""`python -m benchmarks NAME` measures, prints a table, and fails where a promise does not hold."""

from __future__ import annotations

import argparse
import sys

from benchmarks import runner

BENCHMARKS = {"runner": runner.main}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="what is measured")
    parser.add_argument("--json", metavar="FILE", help="the figures, with machine and versions")
    arguments = parser.parse_args()
    return BENCHMARKS[arguments.name](arguments.json)


if __name__ == "__main__":
    sys.exit(main())
