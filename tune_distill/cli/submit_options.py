"""The submit command's arguments, and the study command that it runs on a cluster."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from urllib.parse import urlparse

from tune_distill.cli.options import (
    Options,
    add_scheduling,
    add_what_runs,
    parse_arguments,
)
from tune_distill.spec.redaction import redacted

RESULTS = "~/tune_distill/results"
"""The default results folder on the head. Ray removes the job's own working directory."""

_PROGRAM = "python -m tune_distill.submit"
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

_EXAMPLES = """\
examples:
  python -m tune_distill.submit smoothing --address http://HEAD:8265
  python -m tune_distill.submit ./my_study.yaml --data ./esnli --address http://HEAD:8265 --detach
  python -m tune_distill.submit status --address http://HEAD:8265
  python -m tune_distill.submit logs --follow --address http://HEAD:8265
  python -m tune_distill.submit stop --address http://HEAD:8265
  python -m tune_distill.submit fetch --address http://HEAD:8265

status, logs, stop and fetch take a job's id, or else mean the newest job; each has --help.
Where the cluster asks for a token, copy its head's ~/.ray/auth_token to ~/.ray/auth_token here,
or name the copy in RAY_AUTH_TOKEN_PATH.
"""

COMMANDS = {
    "status": "the studies submitted, or one in detail",
    "logs": "what a study has printed so far",
    "stop": "stop a study; the same submitted again goes on where it stopped",
    "fetch": "bring a study's tables home, and make its reports",
}


def parse_submit_arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; if they are invalid, print a usage line and exit with code 2.

    `command` is one of COMMANDS or "study"; `url` is that of the dashboard.
    """
    is_command = bool(given) and given[0] in COMMANDS
    parser = _command_parser(given[0]) if is_command else _study_parser()
    parsed = parser.parse_args(given[1:] if is_command else given)
    if not is_command:
        _require_study(parser, parsed)
    parsed.url = _url(parser, parsed.address)
    return parsed


def study_options(parsed: argparse.Namespace) -> Options:
    """Return the options of the study command on the head."""
    # Options that are not offered here have the study command's own defaults.
    defaults = vars(parse_arguments(["all"]))
    given = {name: value for name, value in vars(parsed).items() if name in defaults}
    # The environment of a job says where its cluster is.
    return Options(**defaults | given | {"address": "auto"})


def study_command(options: Options) -> list[str]:
    """Return the study command with these options."""
    command = ["python", "-m", "tune_distill.study", *options.studies]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name == "studies" or value is None or value is False:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if value is True:
            command.append(flag)
        else:
            # Use "=", because a value may begin with a dash.
            command += [f"{flag}={one}" for one in (value if isinstance(value, list) else [value])]
    return command


def _study_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} STUDY... --address URL [options]\n"
        f"       {_PROGRAM} {{{','.join(COMMANDS)}}} [JOB] --address URL",
        description="Run studies as a job on a Ray cluster, and show their progress. The job goes "
        "on when this command ends; Ctrl-C only stops looking.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="shipped study, 'all', or a YAML file"
    )
    _add_address(parser)
    parser.add_argument("--detach", action="store_true", help="submit, and do not wait")
    what = add_what_runs(parser)
    what.add_argument("--no-reuse", action="store_true", help="make everything again")
    where = parser.add_argument_group("where it goes, on the cluster")
    where.add_argument(
        "--results",
        default=RESULTS,
        metavar="PLACE",
        help=f"tables ({RESULTS} of the head)",
    )
    where.add_argument("--store", metavar="PLACE", help="runs and evaluations (RESULTS/.store)")
    add_scheduling(parser)
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--quiet", action="store_true", help="only the study's last line")
    shown.add_argument("--json", action="store_true", help="the study's JSON lines, for programs")
    # These belong to the study command; parse them to explain why they are refused.
    for flag in ("--list", "--dry-run", "--explain"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--executor", default="ray", help=argparse.SUPPRESS)
    return parser


def _command_parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} {command}", description=f"{COMMANDS[command].capitalize()}."
    )
    which = "a job's id (all)" if command == "status" else "a job's id (the newest)"
    parser.add_argument("job", nargs="?", metavar="JOB", help=which)
    _add_address(parser)
    parser.set_defaults(command=command, json=False, quiet=False)
    if command == "status":
        parser.add_argument("--json", action="store_true", help="a JSON list, for programs")
    elif command == "logs":
        parser.add_argument("--follow", action="store_true", help="until the job ends")
    elif command == "fetch":
        parser.add_argument("--to", default="results", metavar="DIR", help="tables here (results)")
    return parser


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the head's dashboard, http://HEAD:8265; or set RAY_API_SERVER_ADDRESS",
    )


def _require_study(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    parsed.command = "study"
    for name in ("list", "dry_run", "explain"):
        if getattr(parsed, name):
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} runs nothing: use python -m tune_distill.study {flag}")
    if parsed.executor != "ray":
        parser.error(
            f"--executor: must be ray on a cluster, got {parsed.executor!r}; "
            "use python -m tune_distill.study to run a study in its own process"
        )
    if not parsed.studies:
        parser.error("name a study, 'all', a study file, or one of " + ", ".join(COMMANDS))
    if "all" in parsed.studies and len(parsed.studies) > 1:
        parser.error("'all' stands alone: it runs every shipped study")
    _require_no_secret(parser, parsed)
    for name in ("results", "store"):
        place = getattr(parsed, name)
        if place is not None and "://" not in place and not place.startswith(("/", "~")):
            parser.error(
                f"--{name}: must be a URI, or a path from / or ~ on the cluster's head, got "
                f"{place!r}"
            )


def _require_no_secret(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """Refuse options that contain passwords or tokens, because the job's command is public."""
    for name in ("results", "store", "student", "data", "set"):
        given = getattr(parsed, name)
        for text in given if isinstance(given, list) else [given or ""]:
            if redacted(text) != text:
                parser.error(
                    f"--{name}: must be without a password or token, because everyone sees a "
                    "job's command; give the nodes their credentials instead"
                )


def _url(parser: argparse.ArgumentParser, address: str | None) -> str:
    """Return the dashboard's URL: `address`, or that in the first of Ray's variables with one."""
    named = {name: os.environ.get(name, "") for name in _ADDRESSES}
    if address is None:
        address = next((url for url in named.values() if url.startswith("http")), None)
    if address is None:
        parser.error("--address: name the head's dashboard, for example http://HEAD:8265")
    parsed = urlparse(address)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        parser.error(
            f"--address: must be the URL of the head's dashboard, as http://HEAD:8265, got "
            f"{redacted(address)!r}"
        )
    return address.rstrip("/")
