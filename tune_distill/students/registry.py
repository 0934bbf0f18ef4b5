"""Finds, identifies and reads students: the built-in one, a directory, or a hub id."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import MINI_STUDENT, STUDENT_KINDS, Student
from tune_distill.students.built_in import BUILT_IN, MODULE, NUM_PARAMETERS
from tune_distill.students.folder import STUDENT_FILES, student_errors
from tune_distill.students.port import ReadStudent, StudentKind
from tune_distill.students.weight_files import num_parameters as count_parameters
from tune_distill.tasks.hub import cache_if_unreachable


def student_identity(student: Student) -> Mapping[str, str]:
    """Return the student's identity by content: a built-in's version, or a digest of its files.

    A student of the hub and a copy of its files in a directory have the same identity.

    Raises:
        StudentError: the student is not supported, or cannot be found.
    """
    return known_identity(student) or read_student(student).identity


def known_identity(student: Student) -> Mapping[str, str] | None:
    """Return the identity of the embedded T5, without building the model; None for others."""
    is_known = student.source == MINI_STUDENT and student.kind == "t5"
    return BUILT_IN if is_known else None


def read_student(student: Student) -> ReadStudent:
    """Read and check the student once, so that the content identified is the content trained.

    Raises:
        StudentError: the student is not supported, or cannot be found.
    """
    kind: StudentKind = import_module(STUDENT_KINDS[student.kind]).KIND
    if student.source == MINI_STUDENT:
        mini = import_module(MODULE)
        return kind.built_in(mini.mini_student(), mini.mini_tokenizer())
    return kind.read(_folder(student))


def num_parameters(student: Student) -> float:
    """Return about how many parameters the student has, from the headers of its files alone."""
    if student.source == MINI_STUDENT:
        return NUM_PARAMETERS
    folder = _folder(student)
    with student_errors(folder):
        return count_parameters(folder)


def _folder(student: Student) -> Path:
    """Return the folder with the student's files; a hub student is downloaded into the cache."""
    # os.path.expanduser, because Path.expanduser raises if there is no such home directory.
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
    """Return the local folder of a hub student; only files that the cache lacks are downloaded.

    Raises:
        StudentError: the cache has no copy, and the hub can't be reached or has no such student.
    """
    # A commit does not change, so a copy in the cache is up to date.
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
