"""A study from its plans to its records: what the store has, and what Ray Tune adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tune_distill.distill.inputs import Inputs
from tune_distill.distill.students import num_parameters
from tune_distill.records.store import Store
from tune_distill.records.trials import INTERRUPTED, TrialRecord, stored_record
from tune_distill.spec.domains import Cases, Domain, Scalar, Values
from tune_distill.spec.plan import Plan, ResolvedStudy
from tune_distill.spec.settings import input_profiles
from tune_distill.spec.study import Study
from tune_distill.tuning.events import Display
from tune_distill.tuning.planning import plans
from tune_distill.tuning.resources import ResourceRequest, fit

Nodes = Sequence[Mapping[str, float]]


def conduct(
    resolved: ResolvedStudy,
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
) -> list[TrialRecord]:
    """A record for each trial of the study, settings in order and seeds within.

    `start_ray` is called only if some trial needs a worker; it gives the nodes' resources.
    """
    records: dict[str, TrialRecord] = {}
    for plan in plans(resolved, inputs, store):
        for trial in plan.trials:
            if trial.trial_id in plan.finished:
                records[trial.trial_id] = stored_record(trial, plan, store)
        if plan.num_to_run:
            ran = _run(plan, inputs, store, request, display, start_ray)
            records |= {record.trial.trial_id: record for record in ran}
            if any(record.error == INTERRUPTED for record in ran):
                break
    return _in_order(resolved.study, list(records.values()))


def _run(
    plan: Plan,
    inputs: Inputs,
    store: Store,
    request: ResourceRequest,
    display: Display,
    start_ray: Callable[[], Nodes],
) -> list[TrialRecord]:
    profiles = [trial.profile for trial in plan.pending]
    if plan.num_new:
        profiles += input_profiles(plan.resolved.study, plan.resolved.profile)
    inputs.prepare(profiles, store)
    nodes = start_ray()
    # Ray is imported by now anyway; not before, so that a study that is all in the store is quick.
    from tune_distill.tuning.runner import run_plan

    num_runs = len({trial.run_key for trial in plan.trials}) + plan.num_new
    largest = max(num_parameters(profile.student) for profile in profiles)
    return run_plan(plan, inputs, store, fit(nodes, num_runs, largest, request), display)


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
