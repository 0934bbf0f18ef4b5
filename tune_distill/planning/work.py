"""The work of an executor: plans with their inputs, store, limits and listeners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tune_distill.planning.events import AllEnded, Display
from tune_distill.planning.resources import Limits, Nodes, ResourceRequest, TrialResources, fit
from tune_distill.records.store import Store
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.profile import Profile
from tune_distill.spec.settings import input_profiles
from tune_distill.students.registry import num_parameters
from tune_distill.training.inputs import Inputs


@dataclass(frozen=True)
class Work:
    """Plans of different studies, and everything that is needed to run them.

    `plans` have trials left; `known` are all plans of the command so far. `display` gets every
    event. `all_ended` is called once for each plan when all of its trials have ended: complete
    trials are in the store by then, and failed ones have their reason.
    """

    plans: Sequence[Plan]
    known: Sequence[Plan]
    inputs: Inputs
    store: Store
    limits: Limits
    display: Display
    all_ended: AllEnded

    def prepare(self) -> Inputs:
        """Load everything that the trials read into the inputs, and return them.

        Raises:
            StudentError: a student is not supported, or cannot be found.
            DataError: a simulator cannot be fitted on a training pool.
            MetricError: BERTScore's encoder cannot be loaded.
        """
        self.inputs.prepare(profiles_left(self.plans), self.store)
        return self.inputs

    def metric(self, trial: Trial) -> str:
        """Return the name of the metric that the trial's study is judged by."""
        return self._metrics[trial.study]

    @cached_property
    def _metrics(self) -> dict[str, str]:
        studies = (plan.resolved.study for plan in self.plans)
        return {study.name: study.metric.name for study in studies}


def resources_for(plans: Sequence[Plan], nodes: Nodes, request: ResourceRequest) -> TrialResources:
    """Return the resources of each trial of these plans on these nodes.

    Pass all plans of the command, so that resources do not depend on how many trials are left.

    Raises:
        ClusterError: no node can ever hold one trial.
    """
    runs = {trial.run_key for plan in plans for trial in plan.trials}
    num_runs = len(runs) + sum(plan.num_new for plan in plans)
    largest = max(num_parameters(profile.student) for profile in profiles_left(plans))
    return fit(nodes, num_runs, largest, request)


def profiles_left(plans: Iterable[Plan]) -> list[Profile]:
    """Return the profiles of all trials left, including those that Optuna has yet to choose."""
    profiles = []
    for plan in plans:
        profiles += [trial.profile for trial in plan.pending]
        if plan.num_new:
            profiles += input_profiles(plan.resolved.study, plan.resolved.profile)
    return profiles
