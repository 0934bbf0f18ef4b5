"""The columns of every table: name, type and meaning. `records/schema_page.py` documents them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from tune_distill.spec.domains import Scalar
from tune_distill.spec.metrics import SCORES, metric_columns
from tune_distill.spec.task import CHOICES, TaskDescription


@dataclass(frozen=True)
class Column:
    """One column of a table. `null` says when a row has no value in it.

    A reader refuses a table with a null in an `always` column.
    """

    name: str
    type: pa.DataType
    meaning: str
    always: bool = False
    null: str = "never"

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type)


_TEXT, _REAL, _WHOLE, _TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_TEXTS = pa.list_(_TEXT)
_TYPES = {"real": _REAL, "whole": _WHOLE, "truth": _TRUTH}

_GOLD_LABEL = Column(
    "gold_label", _TEXT, "The right answer: one of the task's labels, if it has any", always=True
)

TRIALS_BEFORE_SETTING = (
    Column("study", _TEXT, "Name of the study", always=True),
    Column("trial_id", _TEXT, "Setting and seed; unique within the study", always=True),
    Column(
        "state",
        _TEXT,
        "`complete`, `pruned` (stopped early by the scheduler) or `failed`",
        always=True,
    ),
    Column("error", _TEXT, "Why the trial failed", null="unless `failed`"),
    Column("seed", _WHOLE, "Seed of training: batch order and dropout", always=True),
)

TRIALS_AFTER_SETTING = (
    *(
        Column(name, _REAL, meaning, null=null)
        for name, (meaning, null) in metric_columns().items()
    ),
    Column(
        "final_train_loss",
        _REAL,
        "Training loss at the last history row, with smoothing",
        null="if it ended before its first report",
    ),
    Column(
        "training_time_s",
        _REAL,
        "Seconds of training and its evaluations, over all attempts",
        null="if it ended before its first report",
    ),
    Column("decode_time_s", _REAL, "Seconds of generating all answers", null="unless `complete`"),
    Column(
        "examples_per_s",
        _REAL,
        "Training examples a second of training time",
        null="unless `complete`",
    ),
    Column("num_steps", _WHOLE, "Optimizer steps made", null="if it ended before its first report"),
    Column("num_train", _WHOLE, "Training examples"),
    Column("num_validation", _WHOLE, "Validation examples"),
    Column(
        "source_truncated_fraction",
        _REAL,
        "Share of training sources cut to the maximum length",
        null="unless `complete`",
    ),
    Column(
        "target_truncated_fraction",
        _REAL,
        "Share of training targets cut to the maximum length",
        null="unless `complete`",
    ),
    Column(
        "device", _TEXT, "What trained it: `cpu`, or the name of the GPU", null="unless `complete`"
    ),
    Column(
        "instruction_set",
        _TEXT,
        "The CPU's instruction set and model, with limits of the environment; a GPU's architecture",
        null="unless `complete`",
    ),
    Column("precision", _TEXT, "Arithmetic of training and decoding: `fp32` or `bf16`"),
    Column(
        "run_key",
        _TEXT,
        "Identity of the training; trials that share it share the student",
        always=True,
    ),
    Column("evaluation_key", _TEXT, "Identity of the decoding and scoring", always=True),
    Column(
        "reused",
        _TRUTH,
        "Whether the trial's run was in the store already when its turn came",
        always=True,
    ),
    Column("num_retries", _WHOLE, "How often another worker went on with it after one was lost"),
    Column("config", _TEXT, "The whole resolved profile, as JSON"),
)

HISTORY = (
    Column("trial_id", _TEXT, "As in trials", always=True),
    Column("step", _WHOLE, "Optimizer steps made", always=True),
    Column("epoch", _REAL, "Passes over the training examples made"),
    Column("train_loss", _REAL, "Mean training loss since the row before, with smoothing"),
    Column("unsmoothed_train_loss", _REAL, "The same without smoothing, to compare settings"),
    Column(
        "eval_loss",
        _REAL,
        "Cross-entropy a validation target token",
        null="between evaluations, and after evaluations on other validation examples than the "
        "trial's",
    ),
    Column("learning_rate", _REAL, "Learning rate of the step"),
    Column("elapsed_s", _REAL, "Seconds of training so far"),
)

SCORED = (
    Column("example_id", _TEXT, "Identifier of the validation example", always=True),
    Column("sample", _WHOLE, "Number of the answer, from 0; greedy and beam give one", always=True),
    _GOLD_LABEL,
    Column(
        "predicted_label",
        _TEXT,
        "Label that the answer gives",
        null="if the answer gives no label",
    ),
    Column("correct", _TRUTH, "Whether they agree", always=True),
    Column("prediction", _TEXT, "The whole answer", always=True),
    Column("explanation", _TEXT, "Its explanation", always=True),
    *(Column(score.name, _TYPES[score.type], score.meaning, null=score.null) for score in SCORES),
    Column("eval_loss", _REAL, "Cross-entropy a target token of this example, without smoothing"),
    Column("num_target_tokens", _WHOLE, "Target tokens the loss is the mean of"),
)

PREDICTIONS = (Column("trial_id", _TEXT, "As in trials", always=True), *SCORED)

EXAMPLES_BEFORE_INPUTS = (Column("example_id", _TEXT, "As in predictions; each once", always=True),)

EXAMPLES_AFTER_INPUTS = (
    _GOLD_LABEL,
    Column("explanations", _TEXTS, "The reference explanations; the loss is that of the first"),
)


TABLES: Mapping[str, tuple[Column, ...]] = {
    "trials": (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING),
    "history": HISTORY,
    "predictions": PREDICTIONS,
    "examples": (*EXAMPLES_BEFORE_INPUTS, *EXAMPLES_AFTER_INPUTS),
}
"""The columns of each table that are documented by name."""


def misfit(table: str, found: pa.Schema) -> str | None:
    """Return a text about the first column with another type than documented; None if all fit.

    Other tools may write whole numbers as real ones, and a column without values as null.
    """
    for column in TABLES[table]:
        position = found.get_field_index(column.name)
        if position >= 0 and not _fits(column.type, found.field(position).type):
            return f"column {column.name} of type {found.field(position).type}, not {column.type}"
    return None


def gap(table: str, with_nulls: Iterable[str]) -> str | None:
    """Return a text about the first of these columns that may have no nulls; None if all may."""
    always = {column.name for column in TABLES[table] if column.always}
    return next((f"column {name} with nulls" for name in with_nulls if name in always), None)


def _fits(expected: pa.DataType, found: pa.DataType) -> bool:
    if pa.types.is_null(found) or found == expected:
        return True
    if pa.types.is_string(expected):
        if pa.types.is_dictionary(found):
            found = found.value_type
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_list(expected):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _fits(expected.value_type, found.value_type)
    if pa.types.is_boolean(expected):
        return False
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of these columns."""
    return pa.schema([column.field for column in columns])


def trials_columns(settings: list[Mapping[str, Scalar]]) -> tuple[Column, ...]:
    """Return the columns of a study's trials table: one for each varied parameter, in the middle.

    A parameter that every table shows anyway, such as `num_train`, keeps its place.
    """
    shown = {column.name for column in (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING)}
    names = list(dict.fromkeys(name for values in settings for name in values if name not in shown))
    varied = tuple(
        Column(name, _type_of([values.get(name) for values in settings]), "A varied parameter")
        for name in names
    )
    return (*TRIALS_BEFORE_SETTING, *varied, *TRIALS_AFTER_SETTING)


def examples_columns(task: TaskDescription) -> tuple[Column, ...]:
    """The columns of a task's examples: one for each input text, in the middle."""
    inputs = [Column(name, _TEXT, "An input text", always=True) for name in task.inputs]
    if task.has_choices:
        inputs.append(Column(CHOICES, _TEXTS, "The answers that may be given"))
    return (*EXAMPLES_BEFORE_INPUTS, *inputs, *EXAMPLES_AFTER_INPUTS)


def _type_of(values: list[Scalar]) -> pa.DataType:
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        return _TEXT
    whole = present and all(isinstance(value, int) for value in present)
    return _WHOLE if whole else _REAL
