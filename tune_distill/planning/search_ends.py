"""The ends of a search's trials, on which all drivers that share the search agree."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tune_distill.planning.journal import SearchJournal
from tune_distill.planning.space import point_of
from tune_distill.records.search_log import End, SearchLog
from tune_distill.records.store import Store
from tune_distill.records.trials import TrialRecord, complete_record
from tune_distill.spec.domains import Cases, Domain, IntRange, LogUniform, Uniform, Values
from tune_distill.spec.errors import StoreError
from tune_distill.spec.metrics import IN_STEPS
from tune_distill.spec.plan import FinishedState, Plan, ResolvedStudy, Trial
from tune_distill.spec.settings import domains

logger = logging.getLogger(__name__)


class SearchEnds:
    """Decides the ends of a plan's trials, and keeps Optuna's journal of them.

    Several drivers may run the same trial. The first to end it decides whether it is complete or
    pruned, and the others adopt this state.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._resolved, self._search_key, self._store = plan.resolved, plan.search_key, store
        self._log = SearchLog(store, plan.search_key)
        folder = store.search_folder(plan.search_key)
        self._journal = SearchJournal(store.place, folder, plan.resolved.study.metric.mode)

    def mend(self, finished: Sequence[TrialRecord], planned: Sequence[Trial]) -> None:
        """Add planned and finished trials that the search lacks, and repair its journal.

        Another study may have finished trials of this search. A damaged journal is reported and
        made again.

        Raises:
            StoreError: the place refuses.
        """
        self._log.claim_all(point_of(self._resolved, trial) for trial in planned)
        ends = self._log.ends()
        told = [record for record in finished if record.trial.evaluation_key in ends]
        entries = [ended_trial(self._resolved, record) for record in told]
        asked = [point for point in self._log.points().values() if point is not None]
        fault = self._journal.fault(entries, asked)
        if fault is not None:
            done = self._journal.make_again(entries)
            logger.warning(
                "%s: must have the %d ended trials of its search, %s; %s",
                self._journal.where,
                len(told),
                fault,
                done,
            )
        for record in finished:
            if record.trial.evaluation_key not in ends:
                self.settle(record)

    def settle(self, record: TrialRecord) -> TrialRecord:
        """Return the record of a complete or pruned trial with the state that was decided first.

        Raises:
            StoreError: the place refuses, or has lost the trial's run or evaluation.
        """
        key = record.trial.evaluation_key
        if (end := self._log.end(key)) is not None:
            if (decided := self._decided(end.state, record)) is not None:
                return decided
            self._log.forget_end(key)
        if record.state == "pruned":
            self._store.mark_pruned(self._search_key, record.trial.run_key, record.history)
        # Write the journal first, so that every trial with an end has an entry.
        self._journal.append(ended_trial(self._resolved, record))
        if self._log.set_end(key, self._end(record)) or (end := self._log.end(key)) is None:
            return record
        return self._decided(end.state, record) or record

    def _end(self, record: TrialRecord) -> End:
        point = point_of(self._resolved, record.trial)
        numbers = [number for number, known in self._log.points().items() if known == point]
        assert record.state != "failed"
        return End(numbers[0], point, record.state)

    def _decided(self, state: FinishedState, record: TrialRecord) -> TrialRecord | None:
        """Return the record with the decided state; None if the store has lost its parts."""
        trial = record.trial
        if state == "complete":
            if record.state == "complete":
                return record
            try:
                return complete_record(trial, self._store, reused=False)
            except StoreError:
                return None
        if not self._store.is_pruned(self._search_key, trial.run_key):
            return None
        history = self._store.pruned_history(self._search_key, trial.run_key)
        return replace(record, state="pruned", run=None, evaluation=None, history=history)


def ended_trial(resolved: ResolvedStudy, record: TrialRecord) -> FrozenTrial:
    """Return Optuna's form of a complete or pruned trial."""
    metric = resolved.study.metric.name
    value, state = None, TrialState.PRUNED
    if record.evaluation is not None:
        values = {**record.evaluation.metrics, "eval_loss": record.evaluation.eval_loss}
        value = values[metric]
        # Like Optuna's own `tell`: a complete trial without a value has failed.
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
    reports = {row.step: row.eval_loss for row in record.history if row.eval_loss is not None}
    return optuna.trial.create_trial(
        state=state,
        value=value,
        params=point_of(resolved, record.trial),
        distributions=distributions(domains(resolved.study, resolved.profile)),
        intermediate_values=reports if metric in IN_STEPS else {},
    )


def distributions(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Return the space as Optuna's distributions."""
    return {name: _distribution(domain) for name, domain in space.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Values):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Cases):
        return CategoricalDistribution(list(domain.cases))
    if isinstance(domain, IntRange):
        # Optuna requires that the last step ends at `high`.
        high = domain.low + (domain.high - domain.low) // domain.step * domain.step
        return IntDistribution(domain.low, high, step=domain.step)
    assert isinstance(domain, Uniform | LogUniform)
    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))
