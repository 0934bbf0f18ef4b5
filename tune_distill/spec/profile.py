"""The profile: task, student, data, training, decoding and metrics.

A profile is a YAML file of these six sections. Every field is validated here, so the rest of the
package reads plain attributes. The models are strict: "16" is not a number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from tune_distill.spec.effect import ByContent, Neutral, OnlyIf
from tune_distill.spec.faults import describe
from tune_distill.spec.section import Section, single_field
from tune_distill.spec.shown import shown

MINI_STUDENT = "mini"
MINI_CORPUS = "mini-nli"

SOURCES = frozenset(
    {"student.source", "student.revision", "data.source", "metrics.bertscore_model"}
)
"""Fields that name sources, whose content may change under the same name."""

Strategy = Literal["greedy", "beam", "sample"]
Precision = Literal["fp32", "bf16"]


def absolute_source(source: str) -> str:
    """Return an existing directory as an absolute path, and any other source unchanged.

    Workers run in other directories, where a relative path would not be found.
    """
    # Unlike Path, os.path has no errors for an unknown user and for a name that is too long.
    path = os.path.expanduser(source)
    built_in = source in (MINI_STUDENT, MINI_CORPUS)
    return source if built_in or not os.path.exists(path) else str(Path(path).absolute())


def absolute_file(source: str) -> str:
    """An existing YAML file as an absolute path; a shipped task's name as it is."""
    path = os.path.expanduser(source)
    is_file = path.endswith((".yaml", ".yml")) and os.path.isfile(path)
    return os.path.abspath(path) if is_file else source


Source = Annotated[str, Field(min_length=1), AfterValidator(absolute_source)]
TaskFile = Annotated[str, Field(min_length=1), AfterValidator(absolute_file)]


class Task(Section):
    """What is asked of it, and how its answers are read."""

    source: Annotated[TaskFile, ByContent()] = Field(
        "esnli", description="A shipped task ('esnli', 'mini-nli'), or a YAML file with one"
    )


STUDENT_KINDS = {
    "t5": "tune_distill.students.t5.package",
    "hf": "tune_distill.students.hf_package",
}
"""The kinds of students, and the module whose `KIND` reads each: see students/port.py."""


def _registered_kind(kind: str) -> str:
    if kind not in STUDENT_KINDS:
        raise ValueError(f"must be one of {', '.join(STUDENT_KINDS)}, got {shown(kind)}")
    return kind


class Student(Section):
    """The model that is fine-tuned."""

    source: Annotated[Source, ByContent()] = Field(
        description="'mini' (built in), a directory made with save_pretrained, or a hub id"
    )
    revision: Annotated[str | None, ByContent()] = Field(
        None, description="Branch, tag or commit on the hub; none for the default branch"
    )
    kind: Annotated[str, AfterValidator(_registered_kind), Neutral("t5")] = Field(
        "t5",
        description="t5: computed by this package; hf: any seq2seq model, computed by transformers",
        json_schema_extra={"enum": [*STUDENT_KINDS]},
    )


class Data(Section):
    """The examples that the student is trained and evaluated on."""

    source: Annotated[Source, ByContent()] = Field(
        description="'mini-nli' (generated), a directory of CSV, JSONL or Parquet, or a hub id"
    )
    num_train: Annotated[int | None, ByContent()] = Field(
        None, ge=1, description="Size of the training pool in examples; none for all"
    )
    num_validation: Annotated[int | None, ByContent()] = Field(
        None, ge=1, description="Validation examples; none for all"
    )
    train_fraction: Annotated[float, ByContent()] = Field(
        1.0, gt=0, le=1, description="Share of the pool trained on, label-balanced and nested"
    )


class Train(Section):
    """How the student is fine-tuned."""

    num_epochs: int = Field(3, ge=1, le=10_000, description="Passes over the training examples")
    batch_size: int = Field(16, ge=1, le=65_536, description="Examples a step")
    learning_rate: float = Field(5e-5, gt=0, description="Peak learning rate of AdamW")
    label_smoothing: Annotated[float, Neutral(0.0)] = Field(
        0.1, ge=0, lt=1, description="Probability mass spread evenly over the vocabulary"
    )
    weight_decay: Annotated[float, Neutral(0.0)] = Field(
        0.01, ge=0, description="Decoupled weight decay; norms and position biases are left free"
    )
    warmup_fraction: Annotated[float, Neutral(0.0)] = Field(
        0.0, ge=0, lt=1, description="Share of the steps in which the learning rate rises linearly"
    )
    max_source_length: int = Field(
        128, ge=4, le=65_536, description="Longest source, in tokens; the rest is cut"
    )
    max_target_length: int = Field(
        64, ge=4, le=65_536, description="Longest target, in tokens; the rest is cut"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this L2 norm")
    ce_weight: Annotated[float, Neutral(1.0)] = Field(
        1.0, gt=0, description="Factor on the cross-entropy"
    )
    precision: Annotated[Precision, Neutral("fp32")] = Field(
        "fp32", description="Matrix products in float32, or in bfloat16; the rest is float32"
    )
    eval_steps: int = Field(
        20, ge=1, description="Steps between evaluations, each with a checkpoint"
    )
    logging_steps: int = Field(10, ge=1, description="Steps between rows of the training loss")


class Decode(Section):
    """How the student generates its answers."""

    strategy: Strategy = Field("greedy", description="greedy, beam search or sampling")
    num_beams: Annotated[int, OnlyIf("strategy", "beam")] = Field(
        4, ge=2, le=1_000, description="Beams of strategy beam"
    )
    temperature: Annotated[float, OnlyIf("strategy", "sample"), Neutral(1.0)] = Field(
        1.0, ge=1e-6, description="Divides the logits of strategy sample"
    )
    top_k: Annotated[int, OnlyIf("strategy", "sample"), Neutral(0)] = Field(
        0, ge=0, description="Sample from the k likeliest tokens; 0 for all"
    )
    top_p: Annotated[float, OnlyIf("strategy", "sample"), Neutral(1.0)] = Field(
        1.0, gt=0, le=1, description="Sample from the likeliest mass p; 1 for all"
    )
    num_samples: Annotated[int, OnlyIf("strategy", "sample"), Neutral(1)] = Field(
        1, ge=1, le=10_000, description="Texts drawn an example by strategy sample"
    )
    max_new_tokens: int = Field(64, ge=1, le=65_536, description="Longest text, in tokens")


class Metrics(Section):
    """Optional metrics."""

    bertscore_model: Annotated[str | None, ByContent()] = Field(
        None, description="Encoder for BERTScore (a directory or hub id); none to leave it out"
    )


class Profile(Section):
    """A task, a student, its data, and the defaults of training and decoding."""

    task: Task = Task.model_validate({})
    student: Student
    data: Data
    train: Train = Train.model_validate({})
    decode: Decode = Decode.model_validate({})
    metrics: Metrics = Metrics.model_validate({})

    @classmethod
    def cross_faults(cls, parts: Mapping[str, Any]) -> Iterable[str]:
        """Yield a fault if the training pool's fraction rounds to no example."""
        data = parts.get("data")
        if data is None or data.num_train is None:
            return
        if round(data.num_train * data.train_fraction) < 1:
            yield (
                f"data.train_fraction: must leave at least one of {data.num_train} examples, "
                f"got {data.train_fraction}"
            )


@cache
def field_paths() -> tuple[str, ...]:
    """Return every dotted field of a profile, as in --set, overrides and vary."""
    return tuple(
        f"{section}.{name}"
        for section in Profile.model_fields
        for name in section_model(section).model_fields
    )


def section_model(section: str) -> type[Section]:
    """Return the model of a profile's section, such as Train for `train`."""
    model = Profile.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, Section)
    return model


def value_faults(where: str, path: str, value: Any) -> list[str]:
    """Return the faults of `value` for the dotted field `path`, each starting with `where`."""
    section, name = path.split(".")
    model = single_field(section_model(section), name)
    try:
        model(**{name: value})
    except ValidationError as error:
        return [line.replace(f": {name}: ", ": ", 1) for line in describe(error, model, where)]
    return []


@cache
def neutral_values() -> Mapping[str, Any]:
    """Return the neutral value of each dotted field that has one."""
    values = {}
    for path in field_paths():
        section, name = path.split(".")
        for mark in section_model(section).model_fields[name].metadata:
            if isinstance(mark, Neutral):
                values[path] = mark.value
    return values


def column_name(path: str) -> str:
    """Return the table column of a varied field: its own name, or for `source` its section's."""
    section, name = path.split(".")
    return section if name == "source" else name
