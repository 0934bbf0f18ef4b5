"""Checks that a student suits its task and its profile, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from tune_distill.records.examples import Example
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Profile
from tune_distill.spec.shown import shown
from tune_distill.students.port import ReadStudent, Untrained
from tune_distill.tasks.task import Task

# The number of examples searched for one of each label, to encode and decode their targets.
_TRIED = 200


def require_positions(profile: Profile, num_positions: int | None) -> None:
    """Raise StudentError if texts may be longer than the student's positions."""
    lengths = {
        "train.max_source_length": profile.train.max_source_length,
        "train.max_target_length": profile.train.max_target_length,
        "decode.max_new_tokens": profile.decode.max_new_tokens,
    }
    for name, length in lengths.items():
        if num_positions is not None and length > num_positions:
            raise StudentError(
                f"{name}: must be at most {num_positions}, the positions of student "
                f"{profile.student.source}, got {length}; lower it with "
                f"--set {name}={num_positions}"
            )


def require_writing(
    student: ReadStudent, untrained: Untrained, task: Task, examples: Sequence[Example]
) -> None:
    """Raise StudentError if the student's tokenizer loses the task's labels or its marker."""
    asked = list({example.label: example for example in examples[:_TRIED]}.values())
    targets = [task.target_text(example) for example in asked]
    tokens = student.encode(targets)
    rows = [row.tolist() for row in tokens.rows(len(asked), max(1, len(tokens.ids)))]
    written = untrained.texts(rows)
    answers = [task.parse(text, example) for text, example in zip(written, asked, strict=True)]
    labels = task.description.labels or ()
    keeps_marker = any(answer.explanation for answer in answers)
    for answer, example, target, text in zip(answers, asked, targets, written, strict=True):
        if (labels and answer.label != example.label) or not keeps_marker:
            raise StudentError(
                f"student.source: its tokenizer must keep labels and marker of the task "
                f"{task.description.name}, got {shown(text)} for {shown(target)}; use another "
                "student, or other labels and another marker"
            )
