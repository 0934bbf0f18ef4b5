"""A study from its plans to its records: what the store has, and what Ray Tune adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tune_distill.distill.inputs import Inputs
from tune_distill.distill.students import num_parameters
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, complete_record, stored_record
from tune_distill.spec.domains import Cases, Domain, Scalar, Values
from tune_distill.spec.plan import Plan, ResolvedStudy, Trial
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import input_profiles
from tune_distill.spec.study import Study
from tune_distill.tuning.events import Display, Outcome
from tune_distill.tuning.imports import no_garbage
from tune_distill.tuning.planning import plans
from tune_distill.tuning.resources import Limits, ResourceRequest, TrialResources, fit
from tune_distill.tuning.signals import signals_kept

Nodes = Sequence[Mapping[str, float]]


def conduct(
    resolved: ResolvedStudy,
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
    limits: Limits,
) -> Outcome:
    """A record for each trial of the study, settings in order and seeds within.

    `start_ray` is called only if some trial needs a worker; it gives the nodes' resources. Ctrl-C
    ends it early, whenever it comes: trials that are not complete then are failed as interrupted.
    """
    records: dict[str, TrialRecord] = {}
    early = False
    for plan in plans(resolved, inputs, store):
        for trial in plan.trials:
            if trial.trial_id in plan.finished:
                records[trial.trial_id] = stored_record(trial, plan, store)
        if plan.num_to_run:
            try:
                ran, early = _run(plan, inputs, store, request, display, start_ray, limits)
            except KeyboardInterrupt:
                ran, early = [_interrupted(trial, store) for trial in plan.pending], True
            records |= {record.trial.trial_id: record for record in ran}
            if early:
                break
    return Outcome(_in_order(resolved.study, list(records.values())), early)


def _run(
    plan: Plan,
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
    limits: Limits,
) -> Outcome:
    profiles = _profiles(plan)
    # Ray's processes take seconds to start, and so do texts to be tokenised.
    with no_garbage(), ThreadPoolExecutor(1) as beside:
        prepared = beside.submit(inputs.prepare, profiles, store)
        nodes = _started(start_ray)
        # Ray is imported by now; not before, so that a study that is all in the store is quick.
        from tune_distill.tuning.runner import run_plan

        prepared.result()

    resources = place(plan, nodes, request)
    return run_plan(plan, inputs, store, resources, display, limits)


def place(plan: Plan, nodes: Nodes, request: ResourceRequest) -> TrialResources:
    """What each trial that the plan has left gets on these nodes.

    Raises:
        ClusterError: no node can ever hold one trial.
    """
    num_runs = len({trial.run_key for trial in plan.trials}) + plan.num_new
    largest = max(num_parameters(profile.student) for profile in _profiles(plan))
    return fit(nodes, num_runs, largest, request)


def _profiles(plan: Plan) -> list[Profile]:
    """Those of all trials that the plan has left, also of settings yet to be chosen."""
    profiles = [trial.profile for trial in plan.pending]
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
