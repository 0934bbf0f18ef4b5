"""The ledger: the state of each started trial, and the record of each ended one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tune_distill.planning.events import Report
from tune_distill.planning.queue import PlannedQueue, TrialQueue
from tune_distill.planning.search_ends import SearchEnds
from tune_distill.planning.work import Work
from tune_distill.records.runs import HistoryRow
from tune_distill.records.trials import TrialRecord, TrialState, complete_record
from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.redaction import one_line


@dataclass
class Attempts:
    """The attempts so far at a trial that has not ended."""

    trial: Trial
    num_retries: int = 0
    history: tuple[HistoryRow, ...] = ()


class Ledger:
    """Keeps the records of an executor's plans, and alone tells the display about trials.

    Trials have the executor's own names here, because one trial id may run more than once.
    """

    def __init__(self, work: Work) -> None:
        self._plans = {plan.resolved.study.name: plan for plan in work.plans}
        self._records: dict[str, dict[str, TrialRecord]] = {name: {} for name in self._plans}
        self._ended_names: dict[str, set[str]] = {name: set() for name in self._plans}
        self._searches = {
            name: SearchEnds(plan, work.store)
            for name, plan in self._plans.items()
            if plan.asks_optuna
        }
        self._store, self._display, self._all_ended = work.store, work.display, work.all_ended
        self._trained: set[str] = set()
        self._concluded: set[str] = set()
        self._open: dict[str, Attempts] = {}

    def start(self, name: str, trial: Trial) -> Attempts:
        """Return the trial's attempts; show a trial that was not known before as started."""
        if name not in self._open:
            self._open[name] = Attempts(trial)
            self._display.started(trial)
        return self._open[name]

    def retry(self, name: str, reason: str) -> None:
        """Note that the trial lost its worker for this reason and starts again."""
        attempts = self._open[name]
        attempts.num_retries += 1
        self._display.retried(attempts.trial, attempts.num_retries, reason)

    def progress(self, name: str, history: tuple[HistoryRow, ...], report: Report) -> None:
        """Note the progress of the trial's attempt."""
        attempts = self._open[name]
        attempts.history = history
        train_loss = history[-1].train_loss if history else None
        self._display.progressed(attempts.trial, replace(report, train_loss=train_loss))

    def complete(self, name: str, trained: bool) -> None:
        """End the trial as complete: its evaluation is in the store.

        `trained` says whether this attempt trained the run. The trial fails instead if the store
        has lost the run or refuses.
        """
        attempts = self._open[name]
        reused = self._is_reused(attempts, trained)
        try:
            record = self._settled(complete_record(attempts.trial, self._store, reused))
        except TuneDistillError as error:
            self.fail(name, one_line(error))
            return
        if not record.reused:
            self._trained.add(attempts.trial.run_key)
        self._close(name, record)

    def prune(self, name: str) -> None:
        """End the trial as pruned; it fails instead if the store cannot take its history."""
        attempts = self._open[name]
        try:
            record = self._settled(self._record(attempts, "pruned"))
        except TuneDistillError as error:
            self.fail(name, one_line(error))
            return
        self._close(name, record)

    def fail(self, name: str, reason: str) -> None:
        """End the trial as failed for this reason."""
        self._close(name, replace(self._record(self._open[name], "failed"), error=reason))

    def finish(self, queues: Sequence[TrialQueue], why_left: str) -> bool:
        """Fail all unfinished trials for this reason; return whether there were none.

        `queues` are those of the plans, in their order. A plan without any started trial is left
        out.
        """
        plans = zip(self._plans.values(), queues, strict=True)
        ended = [self._finish(plan, queue, why_left) for plan, queue in plans]
        return all(ended)

    def _finish(self, plan: Plan, queue: TrialQueue, why_left: str) -> bool:
        unfinished = self._unfinished(plan)
        ended = self._records[plan.resolved.study.name]
        if not ended and not unfinished:
            return False
        for record in _left_out(queue, ended):
            self._end(record.trial.trial_id, record)
        left = {trial.trial_id: TrialRecord(trial, "failed", False) for trial in plan.pending}
        left = {i: record for i, record in (left | unfinished).items() if i not in ended}
        for trial_id, record in left.items():
            self._end(trial_id, self._last(record, why_left, begun=trial_id in unfinished))
        # Conclude here if Optuna chose fewer trials than planned, or `_end` raised an error.
        self._conclude(plan.resolved.study.name)
        return not left and len(self._ended_names[plan.resolved.study.name]) >= plan.num_to_run

    def _close(self, name: str, record: TrialRecord) -> None:
        attempts = self._open.pop(name)
        self._end(name, replace(record, num_retries=attempts.num_retries))

    def _end(self, name: str, record: TrialRecord) -> None:
        """Record and show the trial's end; a trial that ended before keeps its first end."""
        study = record.trial.study
        names, records = self._ended_names[study], self._records[study]
        names.add(name)
        try:
            if record.trial.trial_id not in records:
                records[record.trial.trial_id] = record
                self._display.ended(record)
        finally:
            if len(names) == self._plans[study].num_to_run:
                self._conclude(study)

    def _last(self, record: TrialRecord, why_left: str, begun: bool) -> TrialRecord:
        """Return the final record of a trial that the executor left unfinished."""
        trial = record.trial
        with suppress(TuneDistillError):
            # Its evaluation may have been stored without being reported.
            if begun and self._store.has_evaluation(trial.evaluation_key):
                found = complete_record(trial, self._store, reused=False)
                return replace(found, num_retries=record.num_retries)
        return replace(record, error=why_left)

    def _conclude(self, study: str) -> None:
        """Call `all_ended` for the study, once."""
        if study not in self._concluded:
            self._concluded.add(study)
            self._all_ended(self._plans[study], list(self._records[study].values()))

    def _unfinished(self, plan: Plan) -> dict[str, TrialRecord]:
        """Return failed records, still without a reason, of the plan's started, unended trials."""
        return {
            attempts.trial.trial_id: self._record(attempts, "failed")
            for attempts in self._open.values()
            if attempts.trial.study == plan.resolved.study.name
        }

    def _record(self, attempts: Attempts, state: TrialState) -> TrialRecord:
        """Return a record with the history that the trial has reported."""
        return TrialRecord(
            attempts.trial,
            state,
            False,
            history=attempts.history,
            num_retries=attempts.num_retries,
        )

    def _settled(self, record: TrialRecord) -> TrialRecord:
        """Return the record with the state that the first driver to end this trial decided."""
        study, run_key = record.trial.study, record.trial.run_key
        if study in self._searches:
            return self._searches[study].settle(record)
        if record.state == "pruned":
            self._store.mark_pruned(self._plans[study].search_key, run_key, record.history)
        return record

    def _is_reused(self, attempts: Attempts, trained: bool) -> bool:
        """Return whether the trial used a run of the store or of another trial.

        A run that an earlier attempt of the same trial made counts as trained.
        """
        run_key = attempts.trial.run_key
        stored = self._plans[attempts.trial.study].stored_runs
        was_there = run_key in stored or run_key in self._trained
        return not trained and (attempts.num_retries == 0 or was_there)


def _left_out(queue: TrialQueue, ended: Mapping[str, TrialRecord]) -> list[TrialRecord]:
    """Return records of trials that waited for a failed or pruned run, and end like it."""
    if not isinstance(queue, PlannedQueue):
        return []
    lost = {record.trial.run_key: record for record in ended.values() if record.state != "complete"}
    return [
        replace(lost[trial.run_key], trial=trial, num_retries=0)
        for trial in queue.left_out
        if trial.run_key in lost
    ]
