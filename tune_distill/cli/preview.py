"""Previews of studies: trials, trainings and hits, their resources, and the estimated time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tune_distill.cli.command import Command
from tune_distill.cli.progress import duration_text
from tune_distill.planning.estimates import measured_examples_per_s, training_estimate_s
from tune_distill.planning.plans import exhaustion, explanations, plans
from tune_distill.planning.resources import ResourceRequest, TrialResources
from tune_distill.planning.work import resources_for
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.plan import Plan, ResolvedStudy, Trial
from tune_distill.spec.printable import printable_line
from tune_distill.spec.settings import Setting

# Seconds in which Ray and its workers start, once.
_START_UP_S = 15.0


@dataclass(frozen=True)
class Preview:
    """What one study would do. Trainings that it shares with an earlier study are not counted."""

    study: str
    trials: int
    trainings: int
    hits: int
    estimate: str
    lines: tuple[str, ...]

    def text(self) -> str:
        """Return the counts, and a line for each trial."""
        counts = (
            f"{self.study}: {self.trials} trials, {self.trainings} trainings, {self.hits} hits; "
            f"{self.estimate}"
        )
        return "\n".join([counts, *(f"  {printable_line(line)}" for line in self.lines)])


def previews(studies: Sequence[ResolvedStudy], command: Command) -> list[Preview]:
    """Return the studies' previews; with --explain, lines say why a trial is or is not a hit."""
    store = command.outputs.store
    if command.options.no_reuse:
        # Plan with an empty store, because everything is made again.
        store = Store(Folder(command.outputs.results / "nothing-is-reused"))
    # Preview only the first plan, because replicates of an Optuna search depend on its results.
    first = [next(iter(plans(resolved, command.inputs, store))) for resolved in studies]
    placed = _placed(first, command)
    counted: set[str] = set()
    told = []
    for plan in first:
        trainings = [trial for trial in plan.trainings if trial.run_key not in counted]
        counted |= {trial.run_key for trial in trainings}
        told.append(_preview(plan, trainings, placed, command, store))
    return told


def _preview(
    plan: Plan,
    trainings: list[Trial],
    placed: TrialResources | None,
    command: Command,
    store: Store,
) -> Preview:
    resolved = plan.resolved
    if command.options.explain:
        lines = explanations(plan, store)
    else:
        lines = [f"{trial.trial_id}: {_state(plan, trial.trial_id)}" for trial in plan.trials]
    if (exhausted := exhaustion(plan, store)) is not None:
        lines.append(exhausted)
    if not plan.is_last:
        lines.append(f"then {len(resolved.seeds) - 1} more seeds of each setting not pruned")
    return Preview(
        resolved.study.name,
        len(plan.trials) + plan.num_new,
        len(trainings) + plan.num_new,
        len(plan.finished),
        _estimate(plan, trainings, placed, command),
        tuple(lines),
    )


def _state(plan: Plan, trial_id: str) -> str:
    return f"hit, {plan.finished[trial_id]}" if trial_id in plan.finished else "to run"


def _placed(plans: Sequence[Plan], command: Command) -> TrialResources | None:
    """Return the resources of each trial; None if nothing is to run, or if they do not matter."""
    options = command.options
    to_run = any(plan.num_to_run for plan in plans)
    if not to_run or options.executor == "inline":
        return None
    if options.address is None and options.resources == ResourceRequest():
        # Starting Ray takes seconds, and a small student gets one CPU on any machine.
        return None
    return resources_for(plans, command.executor.nodes(), options.resources)


def _estimate(
    plan: Plan, trainings: list[Trial], placed: TrialResources | None, command: Command
) -> str:
    """Return a text with the number of trials at once and the estimated time of trainings."""
    if not plan.num_to_run:
        return "nothing to run"
    if not trainings and not plan.num_new:
        return "only decodings to run"
    typical = plan.resolved.trial(Setting({}, {}), plan.resolved.seeds[0], command.inputs)
    trials = [*trainings, *[typical] * plan.num_new]
    profile, store = typical.profile, command.outputs.store
    examples = command.inputs.validation(profile.task, profile.data)
    seconds = training_estimate_s(trials, store, examples, command.inputs.task(profile.task))
    inline = command.options.executor == "inline"
    workers = 1 if inline else placed.max_concurrent if placed else os.cpu_count() or 1
    total = (0.0 if inline else _START_UP_S) + seconds / max(1, min(workers, len(trials)))
    measured = measured_examples_per_s(typical.run_identity["student"], command.outputs.store)
    basis = "from stored runs" if measured else "a rough guess: no run of this student is stored"
    at_once = f"{placed.text()}; " if placed else ""
    return f"{at_once}about {duration_text(total)} on machines like this one ({basis})"


def show(previews: Sequence[Preview], command: Command) -> None:
    """Show what each study would do, and the total."""
    totals = {
        name: sum(getattr(preview, name) for preview in previews)
        for name in ("trials", "trainings", "hits")
    }
    if command.options.json:
        for preview in previews:
            command.emit({"event": "plan", **asdict(preview)})
        return
    for preview in previews:
        command.say(preview.text())
    command.say_last(
        f"{totals['trials']} trials, {totals['trainings']} trainings, {totals['hits']} hits"
    )
