"""`tune_distill.run`: studies from Python, without a console."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from tune_distill.analysis.tables import load
from tune_distill.driver import Executor, Session, Summary, run_session
from tune_distill.planning.event_lines import Displays, EventLines
from tune_distill.planning.resources import ResourceRequest
from tune_distill.records.event_log import EventLog
from tune_distill.records.outputs import opened
from tune_distill.records.trials import INTERRUPTED
from tune_distill.reports.reports import report_results, report_study
from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.redaction import one_line
from tune_distill.spec.resolving import require_own_folders, resolved_study
from tune_distill.spec.yaml_files import shipped_studies

logger = logging.getLogger(__name__)

ExecutorName = Literal["ray", "inline"]
OnEvent = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class Results:
    """The results of a study.

    `trials` is the trials table and `verdict` the content of summary.json, both documented in
    results/README.md. `tune_distill.load` reads the other tables.
    """

    study: str
    trials: pd.DataFrame
    verdict: Summary


def run(
    *studies: str | Path,
    profile: str | Path = "mini",
    set: Mapping[str, Scalar] = MappingProxyType({}),  # noqa: A002  # as --set
    seeds: int | None = None,
    results: str | Path = "results",
    store: str | Path | None = None,
    executor: ExecutorName | Executor = "ray",
    on_event: OnEvent | None = None,
) -> dict[str, Results]:
    """Run shipped studies or study files; return their results by name.

        found = tune_distill.run("smoothing", set={"train.num_epochs": 2}, executor="inline")
        found["smoothing"].trials

    Like `python -m tune_distill.study`, this reuses results in the store, and writes tables and
    reports. `set` maps dotted names of profile fields, such as `student.source`, to their values.
    `results` and `store` are folders, or URIs as text. `executor` is "ray" (started and ended by
    this call), "inline" (this process), or an executor of the caller's, which is not closed.
    `on_event` gets the events `begin`, `started`, `progressed`, `retried` and `ended`, which
    docs/studies.md documents for --json; it should return at once.

    Raises:
        StudyFileError: a study, the profile, a field or an argument is invalid; nothing has run.
        TuneDistillError: the inputs cannot be read, no trial can run, or nothing can be written.
        KeyboardInterrupt: Ctrl-C came; tables and reports of complete trials have been written.
    """
    names = shipped_studies() if studies == ("all",) else list(map(str, studies))
    if not names:
        raise StudyFileError("studies: must name a study, 'all' or a study file, got none")
    resolved = [resolved_study(name, str(profile), set, seeds) for name in names]
    require_own_folders(resolved)
    chosen = _executor(executor)
    kept = None if store is None else _place("store", store)
    with opened(_place("results", results), kept) as outputs:
        outputs.require_writable()
        outputs.fetch()
        log = EventLines(EventLog(outputs.results).append)
        display = Displays(log, EventLines(_harmless(on_event))) if on_event else log
        session = Session(
            resolved,
            outputs.results,
            outputs.store,
            chosen,
            display,
            report_study,
            owns_executor=isinstance(executor, str),
        )
        ended = run_session(session, lambda judged: outputs.publish())
        _, unread = report_results(outputs.results)
        outputs.publish()
        for reason in unread.values():
            logger.warning("not in the report: %s", reason)
        if ended.early == "interrupted":
            raise KeyboardInterrupt(INTERRUPTED)
        return {
            name: Results(name, load(name, results=outputs.results), judged.summary)
            for name, judged in ended.judged.items()
        }


def _place(argument: str, place: str | Path) -> str:
    if isinstance(place, Path) and re.match(r"[a-z][a-z0-9+.-]*:/", str(place), re.IGNORECASE):
        raise StudyFileError(f"{argument}: must be text if it is a URI, got {place!r}")
    return str(place)


def _harmless(on_event: OnEvent) -> OnEvent:
    """Return a function that calls the callback until it raises an error."""
    failed = False

    def pass_on(event: Mapping[str, Any]) -> None:
        nonlocal failed
        if failed:
            return
        try:
            on_event(event)
        except Exception as error:
            failed = True
            logger.warning("on_event is not called any more: %s", one_line(error), exc_info=error)

    return pass_on


def _executor(executor: ExecutorName | Executor) -> Executor:
    # torch and Ray take seconds to import, so import only the one that is used.
    if executor == "ray":
        from tune_distill.tuning.ray_executor import RayExecutor

        return RayExecutor(ResourceRequest())
    if executor == "inline":
        from tune_distill.tuning.inline_executor import InlineExecutor

        return InlineExecutor()
    if isinstance(executor, str):
        raise StudyFileError(f"executor: must be ray or inline, got {executor!r}")
    return executor
