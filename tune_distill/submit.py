"""Front door: `python -m tune_distill.submit STUDY --address URL` runs studies as cluster jobs.

The study command itself runs on the cluster's head, with a copy of this package and the study's
files. Its output is shown while it runs; it goes on if this command is interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tune_distill
from tune_distill.cli.submit_options import parse_submit_arguments, study_command, study_options
from tune_distill.cli.terminal import (
    EXIT_COMPLETE,
    EXIT_OUTPUT_GONE,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    output_is_gone,
    run_as_process,
    run_front_door,
)
from tune_distill.spec.printable import json_line
from tune_distill.spec.redaction import redacted

if TYPE_CHECKING:
    from tune_distill.tuning.jobs import Job, Jobs

_NO_SUCH_COMMAND = 127

# Matches the lines that Ray prints before a job's own.
_PREAMBLE = re.compile(r"Running entrypoint for job |\S+ \S+\s+INFO job_manager\.py:\d+ -- ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: the awaited study's, or 2 for usage, configuration or no cluster."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_front_door(lambda: _run(parse_submit_arguments(given)), "interrupted")


def _run(given: argparse.Namespace) -> int:
    return _COMMANDS[given.command](given)


def _submit(given: argparse.Namespace) -> int:
    from tune_distill.cli.bundle import study_bundle
    from tune_distill.spec.yaml_files import shipped_studies
    from tune_distill.study import resolve
    from tune_distill.tuning.jobs import STUDY, Purpose

    options = study_options(given)
    names = shipped_studies() if options.studies == ["all"] else options.studies
    # Check the files here, before anything is submitted.
    studies = [resolve(name, options) for name in names]
    jobs = _jobs(given)
    bundle, there = study_bundle(options, studies)
    purpose = Purpose(
        STUDY,
        tuple(resolved.study.name for resolved in studies),
        options.results,
        options.store,
        tune_distill.__version__,
    )
    job_id = jobs.submit(study_command(there), bundle, purpose)
    if given.json:
        print(json_line({"event": "submitted", "job": job_id}), flush=True)
    for line in (*bundle.notes, f"submitted {job_id}; results go to {options.results} there"):
        _tell(line, given)
    if given.detach:
        _tell(_ways_on(job_id, jobs.url), given)
        return EXIT_COMPLETE
    return _watch(jobs, job_id, given)


def _status(given: argparse.Namespace) -> int:
    jobs = _jobs(given)
    found = [jobs.study(given.job)] if given.job else jobs.studies()
    if given.json:
        print(json_line([asdict(job) for job in found]))
    elif given.job:
        print(_details(found[0]))
    else:
        print(_table(found) if found else f"no study was submitted to {redacted(jobs.url)}")
    return EXIT_COMPLETE


def _logs(given: argparse.Namespace) -> int:
    jobs = _jobs(given)
    job = jobs.study(given.job)
    if given.follow:
        return _watch(jobs, job.id, given)
    for line in jobs.log(job.id).splitlines():
        _show(line, given)
    return EXIT_COMPLETE


def _stop(given: argparse.Namespace) -> int:
    jobs = _jobs(given)
    job = jobs.study(given.job)
    if job.has_ended:
        print(f"{job.id} has ended already: {job.state}")
        return EXIT_COMPLETE
    print(f"{job.id} is told to stop, and writes the tables of what is complete", flush=True)
    print(_ending(jobs.stop(job.id), jobs.url))
    return EXIT_COMPLETE


def _fetch(given: argparse.Namespace) -> int:
    from tune_distill.cli.bundle import package_bundle
    from tune_distill.records.parcel import unpack
    from tune_distill.records.uris import local_path
    from tune_distill.reports.reports import report_results
    from tune_distill.tuning.jobs import FETCH

    # Refuse an invalid folder before anything is submitted; show the folder as it was given.
    local_path(given.to, "--to")
    results = Path(given.to).expanduser()
    jobs = _jobs(given)
    job = jobs.study(given.job)
    place, studies = job.purpose.results, job.purpose.studies
    command = ["python", "-m", "tune_distill.records.parcel", place, *studies]
    errand = jobs.submit(command, package_bundle(), replace(job.purpose, kind=FETCH))
    try:
        parcel = unpack(jobs.follow(errand), results, studies)
    finally:
        jobs.clear(errand)
    if not job.has_ended:
        print(f"{job.id} has not ended: these are its tables as they are now")
    for study in parcel.missing:
        print(f"{study}: no tables yet")
    summaries, unread = report_results(results)
    for summary in summaries:
        if summary["study"] in parcel.studies:
            print(f"{summary['study']}: {results / summary['study'] / 'report.html'}")
            print(*(f"  {line}" for line in summary["lines"]), sep="\n")
    for study in sorted(unread.keys() & set(parcel.studies)):
        print(f"error: {unread[study]}", file=sys.stderr)
    return EXIT_SOME_FAILED if unread.keys() & set(parcel.studies) else EXIT_COMPLETE


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "study": _submit,
    "status": _status,
    "logs": _logs,
    "stop": _stop,
    "fetch": _fetch,
}


def _jobs(given: argparse.Namespace) -> Jobs:
    # Import Ray only after the arguments have been checked.
    from tune_distill.tuning.jobs import Jobs

    return Jobs(given.url)


def _watch(jobs: Jobs, job_id: str, given: argparse.Namespace) -> int:
    """Show the job's output until it ends; return its exit code."""
    try:
        for line in jobs.follow(job_id):
            _show(line, given)
            if output_is_gone():
                # The job goes on, but the reader of our output has left.
                return EXIT_OUTPUT_GONE
    except KeyboardInterrupt:
        print(f"\n{job_id} goes on\n{_ways_on(job_id, jobs.url)}", file=sys.stderr)
        return EXIT_SOME_FAILED
    job = jobs.now(job_id)
    _tell(_ending(job, jobs.url), given)
    if job.state == "succeeded":
        return EXIT_COMPLETE
    return EXIT_USAGE if job.exit_code == EXIT_USAGE else EXIT_SOME_FAILED


def _show(line: str, given: argparse.Namespace) -> None:
    """Print a line of the job; with --json, only events go to the standard output."""
    if not _PREAMBLE.match(line):
        is_event = line.startswith("{") or not given.json
        print(line, file=sys.stdout if is_event else sys.stderr, flush=True)


def _tell(text: str, given: argparse.Namespace) -> None:
    """Print our own message; with --json or --quiet, to the standard error."""
    apart = given.json or given.quiet
    print(text, file=sys.stderr if apart else sys.stdout, flush=True)


def _ways_on(job_id: str, url: str) -> str:
    return "\n".join(
        f"  to {what}: python -m tune_distill.submit {command} {job_id} --address {redacted(url)}"
        for what, command in (("look", "logs --follow"), ("end it", "stop"), ("have it", "fetch"))
    )


def _ending(job: Job, url: str) -> str:
    """Return how the job ended, and what to do next."""
    fetch = f"tables: python -m tune_distill.submit fetch {job.id} --address {redacted(url)}"
    if job.state == "succeeded":
        return f"{job.id} succeeded\n{fetch}"
    if job.state == "stopped":
        kept = job.purpose.store or f"{job.purpose.results}/.store"
        return (
            f"{job.id} was stopped; complete trials, and checkpoints of the others, are kept in "
            f"{kept}: submit the same again to go on\n{fetch}"
        )
    if job.exit_code == EXIT_SOME_FAILED:
        return f"{job.id} failed in part, as it says; submit the same again to try again\n{fetch}"
    if job.exit_code == EXIT_USAGE:
        return f"{job.id} could not run, as it says"
    if job.exit_code == _NO_SUCH_COMMAND:
        return f"{job.id} could not run: the head's PATH must lead to the python that Ray runs in"
    return f"{job.id} {job.state}: {job.message}"


def _table(found: Sequence[Job]) -> str:
    rows = [("job", "studies", "state", "started", "took")]
    rows += [
        (job.id, ", ".join(job.purpose.studies), job.state, _clock(job.started_s), _took(job))
        for job in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _details(job: Job) -> str:
    told = {
        "job": job.id,
        "studies": ", ".join(job.purpose.studies),
        "state": job.state,
        "exit code": "" if job.exit_code is None else str(job.exit_code),
        "message": job.message,
        "started": _clock(job.started_s),
        "took": _took(job),
        "results": job.purpose.results,
        "store": job.purpose.store or f"{job.purpose.results}/.store",
        "version": job.purpose.version,
        "command": job.command,
    }
    return "\n".join(f"{name:9}  {text}" for name, text in told.items() if text)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _took(job: Job) -> str:
    from tune_distill.cli.progress import duration_text

    return duration_text((job.ended_s or time.time()) - job.started_s)


if __name__ == "__main__":
    run_as_process(main)
