"""Students are found, identified and read: the built-in one, a directory, or a hub id."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import MINI_STUDENT, Student
from tune_distill.students import weights as student_weights
from tune_distill.students.package import (
    STUDENT_FILES,
    StudentPackage,
    read_student_package,
    saved_files,
    student_errors,
)

__all__ = [
    "STUDENT_FILES",
    "load_tokenizer",
    "num_parameters",
    "read_student",
    "student_identity",
]

_MINI_PARAMETERS = 500_000


def student_identity(student: Student) -> dict[str, str]:
    """What the student is by content: a built-in's version, or a digest of the files that are read.

    A student of the hub and a copy of its files in a directory are one student.

    Raises:
        StudentError: the student is not supported, or cannot be found.
    """
    if student.source == MINI_STUDENT:
        from tune_distill.students.mini import MINI_STUDENT_VERSION

        return {"builtin": MINI_STUDENT, "version": str(MINI_STUDENT_VERSION)}
    return dict(read_student(student).identity)


def read_student(student: Student) -> StudentPackage:
    """Read and check the student, once: what is identified is what is trained.

    Raises:
        StudentError: the student is not supported, or cannot be found.
    """
    if student.source == MINI_STUDENT:
        return _mini_package(student)
    return read_student_package(_folder(student))


def load_tokenizer(student: Student) -> Any:
    """The student's tokenizer."""
    if student.source == MINI_STUDENT:
        from tune_distill.students.mini import mini_tokenizer

        return mini_tokenizer()
    return read_student(student).tokenizer


def num_parameters(student: Student) -> float:
    """About how many parameters the student has, from the headers of its files alone."""
    if student.source == MINI_STUDENT:
        return _MINI_PARAMETERS
    folder = _folder(student)
    with student_errors(folder):
        return student_weights.num_parameters(folder)


def _mini_package(student: Student) -> StudentPackage:
    from tune_distill.students.mini import mini_student, mini_tokenizer
    from tune_distill.students.t5.architecture import Architecture

    model, tokenizer = mini_student(), mini_tokenizer()
    architecture = Architecture.of(model.config, tied_head=True)
    return StudentPackage(
        student_identity(student),
        architecture,
        {name: value.detach().numpy() for name, value in model.named_parameters()},
        tokenizer,
        saved_files("t5", architecture, tokenizer),
    )


def _folder(student: Student) -> Path:
    """The folder that holds the student's files; a hub student is downloaded into the cache."""
    # Not Path's own, which refuses a home that nobody has.
    folder = Path(os.path.expanduser(student.source))
    if os.path.isdir(folder):
        return folder
    if student.source.startswith((".", "/", "~")) or os.path.exists(folder):
        raise StudentError(
            f"student.source: must be a directory made with save_pretrained, got {student.source}; "
            "check the path"
        )
    return download(student)


def download(student: Student) -> Path:
    """The local folder of a hub student, downloaded only where the cache lacks it.

    Raises:
        StudentError: there is no copy here and the hub can't be reached or has no such student.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from tune_distill.tasks.hub import cache_if_unreachable

    # A commit does not change: a copy in the cache is as good as the hub.
    pinned = re.fullmatch("[0-9a-f]{40}", student.revision or "") is not None
    if pinned and (copy := _cached(student)) is not None:
        return copy
    where = f"student.source: {student.source!r} must be on the hub or in its cache here"
    remedy = "use --student DIR for a local T5, or --profile mini, which needs no network"
    try:
        with cache_if_unreachable(student.source, "model", student.revision):
            folder = snapshot_download(
                student.source, revision=student.revision, allow_patterns=list(STUDENT_FILES)
            )
    except LocalEntryNotFoundError as error:
        raise StudentError(f"{where}, got no answer and no copy; {remedy}") from error
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        reason = " ".join(str(error).split())[:300]
        raise StudentError(f"{where}, got {type(error).__name__}: {reason}; {remedy}") from error
    return Path(folder)


def _cached(student: Student) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            student.source,
            revision=student.revision,
            allow_patterns=list(STUDENT_FILES),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)
