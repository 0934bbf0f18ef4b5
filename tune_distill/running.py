"""`tune_distill.run`: studies from Python, without a console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict_json import Summary
from tune_distill.driver import Executor, Session, run_session
from tune_distill.planning.event_lines import Displays, EventLines
from tune_distill.planning.resources import ResourceRequest
from tune_distill.records.event_log import EventLog
from tune_distill.records.outputs import opened
from tune_distill.reports.reports import report_results
from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.resolving import require_own_folders, resolved_study
from tune_distill.spec.yaml_files import shipped_studies
from tune_distill.tuning.inline_executor import InlineExecutor
from tune_distill.tuning.ray_executor import RayExecutor

ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True)
class Results:
    """What a study's trials have shown.

    `trials` is the trials table and `verdict` what the statistics say, both as results/README.md
    documents them. `tune_distill.load` reads the other tables.
    """

    study: str
    trials: pd.DataFrame
    verdict: Summary


def run(
    *studies: str,
    profile: str = "mini",
    set: Mapping[str, Scalar] = MappingProxyType({}),  # noqa: A002  # as --set
    seeds: int | None = None,
    results: str | Path = "results",
    store: str | Path | None = None,
    executor: ExecutorName | Executor = "ray",
    on_event: Callable[[Mapping[str, Any]], object] | None = None,
) -> dict[str, Results]:
    """Run shipped studies or study files; return what each has shown, by its name.

        found = tune_distill.run("smoothing", set={"train.num_epochs": 2}, executor="inline")
        found["smoothing"].trials

    As `python -m tune_distill.study` does: what the store has is not made again, tables and reports
    are written, and Ctrl-C ends it early with what is complete. `set` are fields of the profile by
    their dotted names, such as `student.source` or `data.source`. `executor` is "ray" (on this
    machine), "inline" (this process), or an executor with settings of its own. `on_event` hears
    of each event, as docs/studies.md documents them for --json.

    Raises:
        StudyFileError: a study, the profile or a field is wrong; nothing has run.
        TuneDistillError: the inputs cannot be read, no trial can run, or nothing can be written.
    """
    names = shipped_studies() if studies == ("all",) else list(studies)
    if not names:
        raise StudyFileError("studies: must name a study, 'all' or a study file, got none")
    resolved = [resolved_study(name, profile, set, seeds) for name in names]
    require_own_folders(resolved)
    chosen = _executor(executor)
    with opened(str(results), None if store is None else str(store)) as outputs:
        outputs.require_writable()
        outputs.fetch()
        log = EventLines(EventLog(outputs.results).append)
        display = Displays(log, EventLines(on_event)) if on_event else log
        session = Session(resolved, outputs.results, outputs.store, chosen, display)
        ended = run_session(session, lambda judged: outputs.publish())
        report_results(outputs.results)
        outputs.publish()
        return {
            name: Results(name, load(name, results=outputs.results), judged.summary)
            for name, judged in ended.judged.items()
        }


def _executor(executor: ExecutorName | Executor) -> Executor:
    if executor == "ray":
        return RayExecutor(ResourceRequest())
    if executor == "inline":
        return InlineExecutor()
    if isinstance(executor, str):
        raise StudyFileError(f"executor: must be ray or inline, got {executor!r}")
    return executor
