"""Front door: `python -m tune_distill.study NAME`.

It resolves the studies, has `driver.run_session` run and judge them, and shows the results. Heavy
libraries are imported only when they are needed, so that `--help` and `--list` answer at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tune_distill.cli.options import Options, parse_arguments
from tune_distill.cli.terminal import (
    EXIT_COMPLETE,
    EXIT_SOME_FAILED,
    run_as_process,
    run_front_door,
)
from tune_distill.spec.domains import Scalar
from tune_distill.spec.faults import Collected
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.printable import json_line
from tune_distill.spec.profile import MINI_CORPUS, MINI_STUDENT
from tune_distill.spec.resolving import require_own_folders, resolved_study
from tune_distill.spec.yaml_files import (
    load_profile,
    load_study,
    parse_assignments,
    shipped_profiles,
    shipped_studies,
)

if TYPE_CHECKING:
    from tune_distill.analysis.summary import Counts
    from tune_distill.cli.command import Command
    from tune_distill.driver import Judged, Summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 all complete or pruned, 1 some failed, 2 usage or configuration."""
    interrupted = "interrupted; run the same command again to go on"
    return run_front_door(lambda: _run(parse_arguments(arguments)), interrupted)


def _run(options: Options) -> int:
    if options.list:
        print(_listing(as_json=options.json))
        return EXIT_COMPLETE
    return _run_all(options)


def resolve(name: str, options: Options) -> ResolvedStudy:
    """Return the study with its profile, the user's fields, and seeds.

    Raises:
        StudyFileError: study, profile or options are invalid; it lists every fault.
    """
    faults = Collected()
    assigned = faults.attempt(lambda: parse_assignments(options.set)) or {}
    chosen = {f"{section}.source": source for section, source in options.sources().items()}
    fields: dict[str, Scalar] = {**chosen, **assigned}
    resolved = faults.attempt(lambda: resolved_study(name, options.profile, fields, options.seeds))
    faults.raise_all()
    assert resolved is not None
    return resolved


def run_studies(command: Command, studies: Sequence[ResolvedStudy]) -> tuple[Counts, bool]:
    """Run the studies, and show their tables and verdicts.

    Return the counts of trials, and whether an error or Ctrl-C ended the studies early.
    """
    from tune_distill.analysis.summary import Counts, count
    from tune_distill.cli.progress import choose_display
    from tune_distill.cli.tail import Tail
    from tune_distill.driver import Session, run_session
    from tune_distill.planning.event_lines import Displays, EventLines
    from tune_distill.planning.plans import start_over
    from tune_distill.records.event_log import EventLog

    options = command.options
    if options.no_reuse:
        for resolved in studies:
            start_over(resolved, command.inputs, command.outputs.store)
    shown = choose_display(command.console, quiet=options.quiet, as_json=options.json)
    log = EventLines(EventLog(command.outputs.results).append)
    session = Session(
        studies,
        command.outputs.results,
        command.outputs.store,
        command.executor,
        Displays(Tail(_get_ready_to_report), shown, log),
        _report,
        options.limits,
        command.inputs,
    )
    ended = run_session(session, partial(_show, command))
    for name in ended.not_begun:
        command.say(f"{name}: not begun")
    return sum((count(judged.rows) for judged in ended.judged.values()), Counts()), bool(
        ended.early
    )


def _report(folder: Path) -> Summary:
    # pandas and scipy have been imported by now, while trials ran.
    from tune_distill.reports.reports import report_study

    return report_study(folder)


def _show(command: Command, judged: Judged) -> None:
    """Show the study's table and verdict, and publish its files."""
    from tune_distill.analysis.summary import failures, footnotes, summary_table

    study, rows = judged.resolved.study, judged.rows
    command.tell(
        [
            f"\n{study.name}: {study.question}",
            summary_table(list(study.columns.values()), rows, command.console.width),
            *judged.notes,
            *footnotes(rows),
            *failures(rows),
        ],
        judged.summary,
    )
    command.outputs.publish()


def _get_ready_to_report() -> None:
    """Import the libraries of reports, which takes a second or two."""
    from tune_distill.reports import reports  # noqa: F401
    from tune_distill.reports.drawing.pictures import chart_library

    chart_library()


def _run_all(options: Options) -> int:
    from tune_distill.cli.command import Command

    started = time.monotonic()
    names = shipped_studies() if options.studies == ["all"] else options.studies
    faults = Collected()
    resolved = [faults.attempt(partial(resolve, name, options)) for name in names]
    faults.raise_all()
    studies = [study for study in resolved if study is not None]
    require_own_folders(studies)
    with Command.open(options) as command:
        command.say(_first_line(studies[0]))
        if options.dry_run or options.explain:
            from tune_distill.cli.preview import previews, show

            show(previews(studies, command), command)
            return EXIT_COMPLETE
        command.outputs.require_writable()
        command.outputs.fetch()
        total, ended_early = run_studies(command, studies)
        from tune_distill.reports.reports import report_results

        _, unread = report_results(command.outputs.results)
        command.outputs.publish()
        for reason in unread.values():
            command.say(f"not in the report: {reason}")
        command.conclude(total, time.monotonic() - started)
    return EXIT_SOME_FAILED if total.failed or ended_early else EXIT_COMPLETE


def _first_line(resolved: ResolvedStudy) -> str:
    """Return a line with profile, student and data, and with how to run the real ones."""
    profile = resolved.profile
    student, data = profile.student.source, profile.data.source
    line = f"profile {resolved.profile_name}: student {student}, data {data}"
    if student == MINI_STUDENT and data == MINI_CORPUS:
        line += "; for flan-t5-small on e-SNLI: --profile notebook"
    return line


def _listing(*, as_json: bool) -> str:
    questions = {name: load_study(name).question for name in shipped_studies()}
    profiles = {name: load_profile(name) for name in shipped_profiles()}
    sources = {name: (each.student.source, each.data.source) for name, each in profiles.items()}
    if as_json:
        events = [{"event": "study", "study": name, "question": q} for name, q in questions.items()]
        events += [
            {"event": "profile", "profile": name, "student": student, "data": data}
            for name, (student, data) in sources.items()
        ]
        return "\n".join(map(json_line, events))
    lines = ["studies:", *(f"  {name:16} {question}" for name, question in questions.items())]
    lines += ["profiles:"]
    for name, (student, data) in sources.items():
        lines.append(f"  {name:16} student {student}, data {data}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_as_process(main)
