"""The driver: plans studies, has an executor run what the store lacks, and judges the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from tune_distill.planning.events import Display
from tune_distill.planning.plans import exhaustion, plans
from tune_distill.planning.resources import Limits, Nodes
from tune_distill.planning.search_ends import SearchEnds
from tune_distill.planning.work import Work
from tune_distill.records.environment import ENVIRONMENT_FILE, environment_text, is_damaged
from tune_distill.records.store import Store
from tune_distill.records.tables import TASK_FILE
from tune_distill.records.trials import (
    INTERRUPTED,
    TrialRecord,
    complete_record,
    stored_record,
    write_study_tables,
)
from tune_distill.spec.domains import Cases, Domain, Scalar, Values
from tune_distill.spec.plan import Plan, ResolvedStudy, Trial
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import dump_study, dump_task
from tune_distill.training.inputs import Inputs

Summary = dict[str, Any]
"""What summary.json holds, as results/README.md documents it."""


class Executor(Protocol):
    """Runs trials: on Ray Tune, or in this process."""

    def nodes(self) -> Nodes:
        """Return the resources of the nodes that trials may run on."""

    def run(self, work: Work) -> bool:
        """Run what the work's plans have left; return whether an error ended it early.

        Each trial ends as a TrialRecord. The display gets it at once; `all_ended` gets all of a
        plan's records when its last trial has ended.

        Raises:
            KeyboardInterrupt: Ctrl-C came. Trials that had begun have ended by then.
        """

    def close(self) -> None:
        """Give back what running took; may be called more than once. More work may come later."""


@dataclass(frozen=True)
class Session:
    """Studies, and everything that is needed to run them.

    `results` is a folder of this machine, which gets a folder for each study. `report` writes the
    report of such a folder, and returns its summary. `owns_executor` says whether the session
    closes the executor.
    """

    studies: Sequence[ResolvedStudy]
    results: Path
    store: Store
    executor: Executor
    display: Display
    report: Callable[[Path], Summary]
    limits: Limits = field(default_factory=Limits)
    inputs: Inputs = field(default_factory=Inputs)
    owns_executor: bool = True


class Judged(NamedTuple):
    """A study with its tables, report and verdict.

    `rows` are those of the trials table; `notes` are lines to show beside them.
    """

    resolved: ResolvedStudy
    rows: list[dict[str, Any]]
    summary: Summary
    notes: tuple[str, ...]


Early = Literal["failed", "interrupted"]
"""Why a session ended early: because of an error, or of Ctrl-C."""


class Ended(NamedTuple):
    """The judged studies of a session by name, those that had not begun, and why it ended early."""

    judged: dict[str, Judged]
    not_begun: list[str]
    early: Early | None


def run_session(session: Session, tell: Callable[[Judged], object]) -> Ended:
    """Run the session's studies together, and judge each when its trials have ended.

    Tables and reports are written while other studies go on. `tell` is called with each judged
    study, in the thread that wrote its report. Ctrl-C while trials run ends the session early: all
    trials that are not complete fail as interrupted, and studies without a started trial are left
    out. The display and the executor are closed while the last report is written.

    Raises:
        TuneDistillError: the inputs cannot be read, the executor cannot run a trial, or the results
            cannot be written.
    """
    judged: dict[str, Future[Judged]] = {}
    with ThreadPoolExecutor(1) as beside:

        def conclude(course: Course) -> None:
            # Ask now, because the executor may be closed before the tables are written.
            nodes = session.executor.nodes() if course.ran else []
            name = course.resolved.study.name
            judged[name] = beside.submit(_judge, course, nodes, session, tell)

        try:
            early = conduct(session, conclude)
        finally:
            session.display.close()
            if session.owns_executor:
                session.executor.close()
    names = [resolved.study.name for resolved in session.studies]
    return Ended(
        {name: ended.result() for name, ended in judged.items()},
        [name for name in names if name not in judged],
        early,
    )


class Course:
    """A study and its plans, which run one after the other.

    `plan` is the current plan, which has trials left to run; None after the last one. `ended` says
    whether its trials have ended. `plans` are all plans so far. `ran` says whether the executor
    ran any trial.
    """

    def __init__(self, resolved: ResolvedStudy, session: Session) -> None:
        self.resolved, self._store = resolved, session.store
        self._coming = plans(resolved, session.inputs, session.store)
        self._records: dict[str, TrialRecord] = {}
        self.ran = False
        self.plans: list[Plan] = []
        self.plan: Plan | None = None
        self.ended = False

    def go_on(self) -> None:
        """Advance to the next plan with trials to run; read finished trials from the store."""
        self.plan, self.ended = None, False
        for plan in self._coming:
            self.plans.append(plan)
            found = [trial for trial in plan.trials if trial.trial_id in plan.finished]
            records = [stored_record(trial, plan, self._store) for trial in found]
            if plan.asks_optuna:
                SearchEnds(plan, self._store).mend(records, plan.trials)
            self._add(records)
            if plan.num_to_run:
                self.plan = plan
                break

    def end(self, records: Iterable[TrialRecord]) -> None:
        """Add the records of the plan's trials, which the executor has run."""
        self._add(records)
        self.ran = self.ended = True
        if self.plan is not None and self.plan.is_last:
            self.plan = None

    def interrupt(self) -> bool:
        """End the study early; return whether it has any records."""
        if self.plan is not None and not self.ended:
            found = [_interrupted(trial, self._store) for trial in self.plan.pending]
            if self._records or any(record.state == "complete" for record in found):
                self._add(found)
        self.plan = None
        return bool(self._records)

    def records(self) -> list[TrialRecord]:
        """Return the records so far in the study's order of settings, then by seed."""
        return _in_order(self.resolved.study, self._records.values())

    def notes(self) -> tuple[str, ...]:
        """Return the lines to show beside the records."""
        notes = (exhaustion(plan, self._store) for plan in self.plans)
        return tuple(note for note in notes if note)

    def _add(self, records: Iterable[TrialRecord]) -> None:
        self._records |= {record.trial.trial_id: record for record in records}


def conduct(session: Session, conclude: Callable[[Course], None]) -> Early | None:
    """Run the studies' plans; return why that ended early, or None.

    `conclude` is called with each study as soon as it has a record for each of its trials.
    """
    courses = {each.study.name: Course(each, session) for each in session.studies}
    concluded: set[str] = set()

    def end(course: Course) -> None:
        name = course.resolved.study.name
        if name not in concluded:
            conclude(course)
            concluded.add(name)

    def all_ended(plan: Plan, records: list[TrialRecord]) -> None:
        course = courses[plan.resolved.study.name]
        course.end(records)
        if course.plan is None:
            end(course)

    def go_on(course: Course) -> None:
        course.go_on()
        if course.plan is None:
            end(course)

    for course in courses.values():
        go_on(course)
    early: Early | None = None
    while not early and any(course.plan for course in courses.values()):
        work = Work(
            [course.plan for course in courses.values() if course.plan],
            [plan for course in courses.values() for plan in course.plans],
            session.inputs,
            session.store,
            session.limits,
            session.display,
            all_ended,
        )
        try:
            early = "failed" if session.executor.run(work) else None
        except KeyboardInterrupt:
            early = "interrupted"
        for course in courses.values():
            if course.plan is not None and not early:
                go_on(course)
            elif course.interrupt():
                end(course)
    return early


def _judge(
    course: Course, nodes: Nodes, session: Session, tell: Callable[[Judged], object]
) -> Judged:
    """Write the study's tables and its report; its trials ran on `nodes`."""
    study = course.resolved.study
    folder = session.results / study.name
    task = session.inputs.description(course.resolved.profile.task)
    beside = {"study.yaml": dump_study(course.resolved), TASK_FILE: dump_task(task)}
    if course.ran or is_damaged(folder / ENVIRONMENT_FILE):
        beside[ENVIRONMENT_FILE] = environment_text({"nodes": nodes})
    records = course.records()
    rows = write_study_tables(folder, study.name, records, session.store, session.inputs, beside)
    judged = Judged(course.resolved, rows, session.report(folder), course.notes())
    tell(judged)
    return judged


def _interrupted(trial: Trial, store: Store) -> TrialRecord:
    """Return a complete record if the store has the trial, and else one failed as interrupted."""
    if store.has_run(trial.run_key) and store.has_evaluation(trial.evaluation_key):
        return complete_record(trial, store, reused=False)
    return TrialRecord(trial, "failed", False, INTERRUPTED)


def _in_order(study: Study, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Sort the records: numbers ascending, names as the study lists them, then by seed."""
    # Records are in the order in which trials ended, so take the order of names from the study.
    listed = {study.columns[name]: _names(domain) for name, domain in study.vary.items()}

    def rank(record: TrialRecord) -> list[tuple[int, float]]:
        numbers = [
            (0, float(value))
            if isinstance(value, int | float)
            else (1, float(listed[column].index(value)))
            for column, value in record.trial.setting.values.items()
        ]
        return [*numbers, (2, float(record.trial.seed))]

    return sorted(records, key=rank)


def _names(domain: Domain) -> list[Scalar]:
    if isinstance(domain, Cases):
        return list(domain.cases)
    return domain.values if isinstance(domain, Values) else []
