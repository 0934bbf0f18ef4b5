"""Trial records, and their rows in the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from tune_distill.records.examples import Example, content_ids, with_unique_ids
from tune_distill.records.files import replaced_together, write_text
from tune_distill.records.leftovers import remove_abandoned
from tune_distill.records.names import require_no_link
from tune_distill.records.runs import EvaluationRecord, HistoryRow, RunRecord, without_eval_loss
from tune_distill.records.schemas import trials_columns
from tune_distill.records.store import Store
from tune_distill.records.tables import (
    TRIALS_FILE,
    write_all_predictions,
    write_examples,
    write_history,
    write_trials,
)
from tune_distill.spec.errors import StoreError
from tune_distill.spec.keys import canonical_json
from tune_distill.spec.metrics import metric_columns
from tune_distill.spec.plan import Plan, Trial
from tune_distill.spec.printable import printable
from tune_distill.spec.profile import Data, Task
from tune_distill.spec.task import TaskDescription

INTERRUPTED = "interrupted; run the same command again to go on"
"""The error of a trial that Ctrl-C ended early."""

TrialState = Literal["complete", "pruned", "failed"]


class Validation(Protocol):
    """Reads a task's description and the validation examples that a data section names."""

    def description(self, task: Task) -> TaskDescription: ...

    def validation(self, task: Task, data: Data) -> Sequence[Example]: ...


@dataclass(frozen=True)
class TrialRecord:
    """The end of a trial. Complete trials, and no others, have a `run` and an `evaluation`.

    `num_retries` counts how often the trial lost its worker and was started again.
    """

    trial: Trial
    state: TrialState
    reused: bool
    error: str | None = None
    run: RunRecord | None = None
    evaluation: EvaluationRecord | None = None
    history: tuple[HistoryRow, ...] = ()
    num_retries: int = 0


def complete_record(trial: Trial, store: Store, reused: bool) -> TrialRecord:
    """Return the record of a trial whose run and evaluation are in the store.

    Raises:
        StoreError: one of them is missing or damaged.
    """
    run = store.run(trial.run_key)
    evaluation = store.evaluation(trial.evaluation_key)
    if run is None or evaluation is None:
        raise StoreError(
            f"{store.place.where()}: must hold the run and evaluation of {trial.trial_id}, "
            "got a missing or damaged one; run the command again to make it again"
        )
    return TrialRecord(
        trial, "complete", reused, None, run, evaluation, comparable_history(trial, run)
    )


def stored_record(trial: Trial, plan: Plan, store: Store) -> TrialRecord:
    """Return the record of a trial that the plan found finished.

    Raises:
        StoreError: the store has lost the trial since then.
    """
    if plan.finished[trial.trial_id] == "pruned":
        history = store.pruned_history(plan.search_key, trial.run_key)
        return TrialRecord(trial, "pruned", reused=True, history=history)
    return complete_record(trial, store, reused=True)


def comparable_history(trial: Trial, run: RunRecord) -> tuple[HistoryRow, ...]:
    """Return the run's history; leave eval losses out if they are of other examples."""
    if run.validation_digest == trial.evaluation_identity["validation"]["digest"]:
        return run.history
    return without_eval_loss(run.history)


def trial_row(study: str, record: TrialRecord) -> dict[str, Any]:
    """Return the trial's row in the trials table."""
    trial, run, evaluation = record.trial, record.run, record.evaluation
    metrics = evaluation.metrics if evaluation else {}
    last = record.history[-1] if record.history else None
    losses = [row.eval_loss for row in record.history if row.eval_loss is not None]
    return {
        "study": study,
        "trial_id": trial.trial_id,
        "state": record.state,
        # Arrow cannot encode a lone surrogate, which a file name in an error may contain.
        "error": None if record.error is None else printable(record.error),
        "seed": trial.seed,
        **trial.setting.values,
        **{name: metrics.get(name) for name in metric_columns()},
        "eval_loss": evaluation.eval_loss if evaluation else (losses[-1] if losses else None),
        "final_train_loss": last.train_loss if last else None,
        "training_time_s": last.elapsed_s if last else None,
        "decode_time_s": evaluation.decode_time_s if evaluation else None,
        "examples_per_s": run.examples_per_s if run else None,
        "num_steps": last.step if last else None,
        "num_train": trial.run_identity["data"]["num_train"],
        "num_validation": trial.evaluation_identity["validation"]["num_validation"],
        "source_truncated_fraction": run.source_truncated_fraction if run else None,
        "target_truncated_fraction": run.target_truncated_fraction if run else None,
        "device": run.device if run else None,
        "instruction_set": run.instruction_set if run else None,
        "precision": trial.profile.train.precision,
        "run_key": trial.run_key,
        "evaluation_key": trial.evaluation_key,
        "reused": record.reused,
        "num_retries": record.num_retries,
        "config": canonical_json(trial.profile.model_dump()),
    }


# Read with getattr: asdict deep-copies each number, and vars keeps a dictionary in each row.
_HISTORY_FIELDS = tuple(field.name for field in fields(HistoryRow))


def history_rows(records: Iterable[TrialRecord]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the history table."""
    for record in records:
        for row in record.history:
            numbers = {name: getattr(row, name) for name in _HISTORY_FIELDS}
            yield {"trial_id": record.trial.trial_id, **numbers}


def study_examples(records: Iterable[TrialRecord], inputs: Validation) -> dict[str, Example]:
    """Return the validation examples of all the trials by content id, with unique example ids.

    Readers of the tables pair answers by example id. The ids are the user's own; if two sources
    give one id to different examples, the later ones get `-2`, `-3`, ... after it.
    """
    found: dict[str, Example] = {}
    profiles = (record.trial.profile for record in records)
    for task, data in dict.fromkeys((profile.task, profile.data) for profile in profiles):
        examples = inputs.validation(task, data)
        for content_id, example in zip(content_ids(examples), examples, strict=True):
            found.setdefault(content_id, example)
    named = with_unique_ids(list(found.values()))
    return dict(zip(found, named, strict=True))


def write_study_tables(
    folder: Path,
    study: str,
    records: Sequence[TrialRecord],
    store: Store,
    inputs: Validation,
    beside: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Write the study's tables and its CSV to `folder`; return the rows of trials, at least one.

    `beside` maps names of further files to their texts. All files are replaced together after each
    of them could be written; an error leaves all of them as they were.
    """
    require_no_link(folder)
    remove_abandoned(folder)
    # Replaced last, so that a reader of its trials finds their history, predictions and examples.
    with replaced_together(folder, last=TRIALS_FILE) as new:
        rows = _write_tables(new, study, records, store, inputs)
        for name, text in beside.items():
            write_text(new / name, text)
    return rows


def _write_tables(
    folder: Path, study: str, records: Sequence[TrialRecord], store: Store, inputs: Validation
) -> list[dict[str, Any]]:
    rows = [trial_row(study, record) for record in records]
    configs: dict[str, str] = {}
    for row in rows:
        # Share one text between the seeds of a setting: these are the longest texts of all.
        row["config"] = configs.setdefault(row["config"], row["config"])
    columns = trials_columns([record.trial.setting.values for record in records])
    examples = study_examples(records, inputs)
    write_history(folder, history_rows(records))
    write_all_predictions(
        folder,
        (
            (
                record.trial.trial_id,
                store.where_predictions(record.trial.evaluation_key),
                store.predictions(record.trial.evaluation_key),
            )
            for record in records
            if record.state == "complete"
        ),
        {content_id: example.example_id for content_id, example in examples.items()},
    )
    write_examples(folder, inputs.description(records[0].trial.profile.task), examples.values())
    write_trials(folder, rows, columns)
    return rows
