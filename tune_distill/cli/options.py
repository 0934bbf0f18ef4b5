"""The study command's arguments."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from tune_distill.planning.resources import Limits, ResourceRequest
from tune_distill.spec.resolving import MOST_SEEDS

Number = TypeVar("Number", int, float)

_UNITS = {"": 1, "b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
"""The bytes in a unit of memory, by its name in lower case."""

_RAY_ONLY = (
    *("address", "nice", "gpus_per_trial", "memory_per_trial"),
    *("max_concurrent", "max_retries", "trial_time_limit"),
)
"""Options without meaning for an executor without workers."""

_EXAMPLES = """\
examples:
  python -m tune_distill.study smoothing
  python -m tune_distill.study all --seeds 3
  python -m tune_distill.study smoothing --profile notebook --data ./esnli
  python -m tune_distill.study ./my_study.yaml --student ./flan-t5-small --set train.num_epochs=1
"""


@dataclass(frozen=True)
class Options:
    """The user's options; None leaves a choice to the study, the profile or us."""

    studies: list[str]
    profile: str
    student: str | None
    data: str | None
    seeds: int | None
    set: list[str]
    results: str
    store: str | None
    executor: str
    address: str | None
    nice: int | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    memory_per_trial: int | None
    max_concurrent: int | None
    max_retries: int
    trial_time_limit: float | None
    dry_run: bool
    explain: bool
    no_reuse: bool
    quiet: bool
    json: bool
    list: bool

    @property
    def resources(self) -> ResourceRequest:
        return ResourceRequest(
            self.cpus_per_trial, self.gpus_per_trial, self.max_concurrent, self.memory_per_trial
        )

    @property
    def limits(self) -> Limits:
        return Limits(self.max_retries, self.trial_time_limit)

    def sources(self) -> dict[str, str]:
        """Return the sources named by --student and --data, by section."""
        named = {"student": self.student, "data": self.data}
        return {section: source for section, source in named.items() if source is not None}


def parse_arguments(arguments: Sequence[str] | None = None) -> Options:
    """Return the options; if they are invalid, print a usage line and exit with code 2."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if not parsed.studies and not parsed.list:
        parser.error("name a study, 'all' or a study file; --list shows the shipped ones")
    if "all" in parsed.studies and len(parsed.studies) > 1:
        parser.error("'all' stands alone: it runs every shipped study")
    if parsed.executor == "inline":
        for option in _RAY_ONLY:
            if getattr(parsed, option) != parser.get_default(option):
                name = f"--{option.replace('_', '-')}"
                parser.error(f"{name} is for Ray's workers, got it with --executor inline")
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune_distill.study",
        description="Run ablation studies of a student that learns from labels and explanations. "
        "The same command again goes on where it stopped and never trains the same thing twice.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="shipped study, 'all', or a YAML file"
    )
    what = add_what_runs(parser)
    what.add_argument("--list", action="store_true", help="list studies and profiles, and stop")
    where = parser.add_argument_group("where it goes")
    where.add_argument("--results", default="results", metavar="DIR", help="tables (results)")
    where.add_argument("--store", metavar="URI", help="runs and evaluations (RESULTS/.store)")
    where.add_argument("--no-reuse", action="store_true", help="make everything again")
    cluster = add_scheduling(parser)
    cluster.add_argument(
        "--executor",
        choices=("ray", "inline"),
        default="ray",
        help="Ray Tune, or one trial after the other in this process (ray)",
    )
    cluster.add_argument("--address", help="join a Ray cluster ('auto', or HOST:PORT)")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--dry-run", action="store_true", help="show the plan, and stop")
    shown.add_argument(
        "--explain", action="store_true", help="show why each trial is or is not a hit, and stop"
    )
    shown.add_argument("--quiet", action="store_true", help="only the last line")
    shown.add_argument("--json", action="store_true", help="JSON lines, for programs")
    return parser


def add_what_runs(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the arguments about what is trained to the parser; return their group."""
    what = parser.add_argument_group("what runs")
    what.add_argument("--profile", default="mini", help="shipped profile or YAML file (mini)")
    what.add_argument("--student", metavar="SOURCE", help="T5 directory, hub id or 'mini'")
    what.add_argument("--data", metavar="SOURCE", help="directory, hub id or 'mini-nli'")
    what.add_argument("--seeds", type=_seeds, metavar="N", help="replicates of each setting")
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="set a profile field, for example train.num_epochs=1; may be repeated",
    )
    return what


def add_scheduling(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the arguments about scheduling trials to the parser; return their group."""
    cluster = parser.add_argument_group("how it is scheduled")
    cluster.add_argument(
        "--cpus-per-trial", type=_positive_real, metavar="N", help="and as many threads (shared)"
    )
    cluster.add_argument("--gpus-per-trial", type=_share, metavar="N", help="may be a fraction")
    cluster.add_argument(
        "--memory-per-trial", type=_size, metavar="SIZE", help="reserved: 4GiB, 500MB or bytes"
    )
    cluster.add_argument(
        "--max-concurrent", type=_positive, metavar="N", help="trials at once (as many as fit)"
    )
    cluster.add_argument(
        "--max-retries",
        type=_not_negative,
        default=Limits.max_retries,
        metavar="N",
        help=f"workers that a trial may lose without a new checkpoint ({Limits.max_retries})",
    )
    cluster.add_argument(
        "--trial-time-limit",
        type=_positive_real,
        metavar="SECONDS",
        help="an attempt at a trial is ended and retried after so long (never)",
    )
    cluster.add_argument(
        "--nice",
        type=_niceness,
        metavar="N",
        help="niceness of trials where Ray is started here (0)",
    )
    return cluster


def _positive(text: str) -> int:
    return _number(text, int, lambda value: value >= 1, "a whole number from 1")


def _not_negative(text: str) -> int:
    return _number(text, int, lambda value: value >= 0, "a whole number from 0")


def _niceness(text: str) -> int:
    return _number(text, int, lambda value: 0 <= value <= 19, "a whole number from 0 to 19")


def _seeds(text: str) -> int:
    rule = f"a whole number from 1 to {MOST_SEEDS}"
    return _number(text, int, lambda value: 1 <= value <= MOST_SEEDS, rule)


def _positive_real(text: str) -> float:
    return _number(text, float, lambda value: 0 < value < math.inf, "a number above 0")


def _share(text: str) -> float:
    valid = "0, a fraction below 1, or a whole number"
    return _number(
        text, float, lambda value: 0 <= value < 1 or (value >= 1 and value.is_integer()), valid
    )


def _size(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
    size = found and _UNITS.get(found[2].lower())
    num_bytes = round(float(found[1]) * size) if found and size else 0
    if num_bytes < 1:
        raise argparse.ArgumentTypeError(
            f"must be a size from 1 byte, such as 4GiB, 500MB or 1000000, got {text!r}"
        )
    return num_bytes


def _number(
    text: str, kind: Callable[[str], Number], valid: Callable[[Number], bool], rule: str
) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not valid(value):
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r}")
    return value
