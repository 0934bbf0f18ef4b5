"""Front door: `python -m tune_distill.report results/` writes verdicts, figures and reports.

It needs only the tables, which may have been copied from a cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tune_distill.cli.terminal import (
    EXIT_COMPLETE,
    EXIT_SOME_FAILED,
    run_as_process,
    run_front_door,
)
from tune_distill.records.uris import local_path
from tune_distill.spec.errors import StoreError

_EXAMPLES = """\
examples:
  python -m tune_distill.report results/
  python -m tune_distill.report results/smoothing
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 all reported, 1 a study's folder could not be read, 2 usage."""
    interrupted = "interrupted; reports that were not made yet are as they were"
    return run_front_door(lambda: _report(parse_arguments(arguments).results), interrupted)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; if they are invalid, print a usage line and exit with code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_distill.report",
        description="Make the reports of a results folder: verdicts, figures, report.html and "
        "report.md of each study, and of all of them together. What would not change is kept.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results",
        nargs="?",
        default="results",
        help="a results folder, or one study's folder in it (results)",
    )
    return parser.parse_args(arguments)


def _report(results: str) -> int:
    # Importing pandas and scipy takes a second, which `--help` does not need.
    from tune_distill.reports.reports import report_results, report_study

    # The folder's name is shown, so resolve '..'.
    folder = Path(os.path.abspath(local_path(results, "results")))
    if (folder / "trials.parquet").is_file():
        _show(folder, report_study(folder)["lines"])
        report_results(folder.parent)
        return EXIT_COMPLETE
    summaries, unread = report_results(folder)
    if not summaries and not unread:
        raise StoreError(
            f"{folder}: must hold the folders of studies, or be one, got no trials.parquet; "
            "run python -m tune_distill.study smoothing, or name another folder"
        )
    for summary in summaries:
        _show(folder / summary["study"], summary["lines"])
    for reason in unread.values():
        print(f"error: {reason}", file=sys.stderr)
    print(f"all studies: {folder / 'report.html'}")
    return EXIT_SOME_FAILED if unread else EXIT_COMPLETE


def _show(folder: Path, lines: Sequence[str]) -> None:
    print(f"{folder.name}: {folder / 'report.html'}")
    print(*(f"  {line}" for line in lines), sep="\n")


if __name__ == "__main__":
    run_as_process(main)
