"""What a study would do: its trials, trainings and hits, and about how long it takes."""

from __future__ import annotations

import os

from tune_distill.distill.estimates import measured_examples_per_s, training_estimate_s
from tune_distill.session import Session
from tune_distill.spec.plan import Plan, ResolvedStudy
from tune_distill.spec.settings import Setting
from tune_distill.tuning.planning import explanations, plans
from tune_distill.tuning.progress import duration_text

# Ray and its workers, once, before the first step.
_START_UP_S = 15.0


def preview(resolved: ResolvedStudy, session: Session) -> str:
    """The study's plan in words; with --explain, why each trial is or is not a hit."""
    # Only the first plan is known before it has run; an Optuna search's replicates follow from it.
    plan = next(iter(plans(resolved, session.inputs, session.store)))
    lines = [_counts(plan, session)]
    if session.options.explain:
        lines += [f"  {line}" for line in explanations(plan, session.store)]
    else:
        lines += [f"  {trial.trial_id}: {_state(plan, trial.trial_id)}" for trial in plan.trials]
    return "\n".join(lines)


def _counts(plan: Plan, session: Session) -> str:
    num_trials = len(plan.trials) + plan.num_new
    trainings = len(plan.trainings) + plan.num_new
    return (
        f"{plan.resolved.study.name}: {num_trials} trials, {trainings} trainings, "
        f"{len(plan.finished)} hits; {_estimate(plan, session)}"
    )


def _state(plan: Plan, trial_id: str) -> str:
    return f"hit, {plan.finished[trial_id]}" if trial_id in plan.finished else "to run"


def _estimate(plan: Plan, session: Session) -> str:
    """The time that the trainings take on this machine; with a scheduler it is an upper bound."""
    if not plan.num_to_run:
        return "nothing to run"
    typical = plan.resolved.trial(Setting({}, {}), plan.resolved.seeds[0], session.inputs)
    trials = [*plan.trainings, *[typical] * plan.num_new]
    examples = session.inputs.validation(typical.profile.data)
    seconds = training_estimate_s(trials, session.store, examples)
    workers = session.options.max_concurrent or os.cpu_count() or 1
    total = _START_UP_S + seconds / max(1, min(workers, len(trials)))
    measured = measured_examples_per_s(typical.run_identity["student"], session.store)
    basis = "from stored runs" if measured else "a rough guess: no run of this student is stored"
    return f"about {duration_text(total)} on this machine ({basis})"
