"""Studies from their plans to their records: what the store has, and what Ray Tune adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tune_distill.planning.plans import exhaustion, plans
from tune_distill.planning.resources import Limits, ResourceRequest, TrialResources, fit
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, complete_record, stored_record
from tune_distill.spec.domains import Cases, Domain, Scalar, Values
from tune_distill.spec.plan import Plan, ResolvedStudy, Trial
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import input_profiles
from tune_distill.spec.study import Study
from tune_distill.students.registry import num_parameters
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.events import AllEnded, Display, Outcome
from tune_distill.tuning.signals import signals_kept

Nodes = Sequence[Mapping[str, float]]

Conclude = Callable[[ResolvedStudy, Outcome], None]


class _Course:
    """A study on its way through its plans, one after the other.

    `plan` is the one that has trials to run, none when the study has come to its end; `ended` says
    that these have. `plans` are all so far.
    """

    def __init__(self, resolved: ResolvedStudy, inputs: Inputs, store: Store) -> None:
        self.resolved, self._store = resolved, store
        self._coming = plans(resolved, inputs, store)
        self._records: dict[str, TrialRecord] = {}
        self._ran = False
        self.plans: list[Plan] = []
        self.plan: Plan | None = None
        self.ended = False

    def go_on(self) -> None:
        """The next plan that has trials to run is there; the store has told of the others."""
        self.plan, self.ended = None, False
        for plan in self._coming:
            self.plans.append(plan)
            found = [trial for trial in plan.trials if trial.trial_id in plan.finished]
            records = [stored_record(trial, plan, self._store) for trial in found]
            if plan.asks_optuna:
                # Optuna is imported only where a study asks for it.
                from tune_distill.tuning.search_ends import SearchEnds

                SearchEnds(plan, self._store).mend(records, plan.trials)
            self._add(records)
            if plan.num_to_run:
                self.plan = plan
                break

    def end(self, records: Iterable[TrialRecord]) -> None:
        """The plan's trials have ended like this, on workers."""
        self._add(records)
        self._ran = self.ended = True
        if self.plan is not None and self.plan.is_last:
            self.plan = None

    def interrupt(self) -> bool:
        """The study has come as far as it will; whether there is something to tell of it."""
        if self.plan is not None and not self.ended:
            found = [_interrupted(trial, self._store) for trial in self.plan.pending]
            if self._records or any(record.state == "complete" for record in found):
                self._add(found)
        self.plan = None
        return bool(self._records)

    def outcome(self) -> Outcome:
        records = _in_order(self.resolved.study, self._records.values())
        notes = (exhaustion(plan, self._store) for plan in self.plans)
        return Outcome(records, self._ran, tuple(note for note in notes if note))

    def _add(self, records: Iterable[TrialRecord]) -> None:
        self._records |= {record.trial.trial_id: record for record in records}


def conduct(
    studies: Sequence[ResolvedStudy],
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
    limits: Limits,
    conclude: Conclude,
) -> bool:
    """Runs the studies, all at once: `conclude` is called with each as soon as it has a record for
    each of its trials, and should return at once.

    `start_ray` is called only if some trial needs a worker; it gives the nodes' resources. Ctrl-C
    ends it early, whenever it comes, and True is returned: trials that are not complete then are
    failed as interrupted, and studies of which no trial had begun are left out.
    """
    courses = {each.study.name: _Course(each, inputs, store) for each in studies}

    def all_ended(plan: Plan, records: list[TrialRecord]) -> None:
        course = courses[plan.resolved.study.name]
        course.end(records)
        if course.plan is None:
            conclude(course.resolved, course.outcome())

    def go_on(course: _Course) -> None:
        course.go_on()
        if course.plan is None:
            conclude(course.resolved, course.outcome())

    for course in courses.values():
        go_on(course)
    early = False
    while not early and any(course.plan for course in courses.values()):
        try:
            going = list(courses.values())
            early = _run(going, inputs, store, request, display, start_ray, limits, all_ended)
        except KeyboardInterrupt:
            early = True
        for course in courses.values():
            if course.plan is None:
                continue
            if not early:
                go_on(course)
            elif course.interrupt():
                conclude(course.resolved, course.outcome())
    return early


def _run(
    courses: Sequence[_Course],
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
    limits: Limits,
    all_ended: AllEnded,
) -> bool:
    left = [course.plan for course in courses if course.plan]
    known = [plan for course in courses for plan in course.plans]
    profiles = _profiles(left)

    def prepare() -> Inputs:
        inputs.prepare(profiles, store)
        return inputs.for_workers()

    # Ray's processes take seconds to start, and so do texts to be tokenised.
    with ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(prepare)
        nodes = _started(start_ray)
        resources = place(known, nodes, request)
        # Ray is imported by now; not before, so that a study that is all in the store is quick.
        from tune_distill.tuning.runner import run_plans

        return run_plans(left, inputs, prepared, store, resources, display, limits, all_ended)


def place(plans: Sequence[Plan], nodes: Nodes, request: ResourceRequest) -> TrialResources:
    """What each trial that these plans have left gets on these nodes. They are all plans of the
    command: what a trial gets must not depend on how much of them was done before.

    Raises:
        ClusterError: no node can ever hold one trial.
    """
    runs = {trial.run_key for plan in plans for trial in plan.trials}
    num_runs = len(runs) + sum(plan.num_new for plan in plans)
    largest = max(num_parameters(profile.student) for profile in _profiles(plans))
    return fit(nodes, num_runs, largest, request)


def _profiles(plans: Sequence[Plan]) -> list[Profile]:
    """Those of all trials that the plans have left, also of settings yet to be chosen."""
    profiles = []
    for plan in plans:
        profiles += [trial.profile for trial in plan.pending]
        if plan.num_new:
            profiles += input_profiles(plan.resolved.study, plan.resolved.profile)
    return profiles


def _started(start_ray: Callable[[], Nodes]) -> Nodes:
    """The nodes of a running Ray.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM came.
    """
    with signals_kept():
        try:
            return start_ray()
        except SystemExit as error:
            # Ray takes SIGTERM for itself when it starts.
            raise KeyboardInterrupt from error


def _interrupted(trial: Trial, store: Store) -> TrialRecord:
    """The trial's record as far as it came."""
    if store.has_run(trial.run_key) and store.has_evaluation(trial.evaluation_key):
        return complete_record(trial, store, reused=False)
    return TrialRecord(trial, "failed", False, INTERRUPTED)


def _in_order(study: Study, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Numbers ascending, names as the study lists them, then seeds."""
    # Records come as trials ended, so only the study itself can say how it lists names.
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
