"""A student's folder: which of its files are read, and the errors that faulty files raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.spec.errors import StudentError
from tune_distill.students.package_files import (
    PackageError,
    PackageFiles,
    matching_files,
    parse_json,
    read_package,
)
from tune_distill.students.tokenizer_files import TOKENIZER_FILES
from tune_distill.students.weight_files import INDEX, PATTERN

CONFIG, GENERATION, ADAPTER = "config.json", "generation_config.json", "adapter_config.json"

STUDENT_FILES = (CONFIG, GENERATION, INDEX, "*.safetensors", *TOKENIZER_FILES)
"""The files that a student may consist of. No other file is read, and these run no code."""

_MOST_CONFIG_BYTES = 2**20


@contextmanager
def student_errors(folder: Path) -> Iterator[None]:
    """Turn errors of reading the student in a folder into StudentErrors."""
    try:
        yield
    except PackageError as error:
        says_where = str(error).startswith(str(folder))
        place = "" if says_where else f"{folder} " if str(error)[:5] == "must " else f"{folder}: "
        raise StudentError(f"student.source: {place}{error}") from error
    except OSError as error:
        raise StudentError(
            f"student.source: {folder} must be readable, got {error.strerror or error}; check its "
            "files"
        ) from error
    except MemoryError as error:
        raise StudentError(
            f"student.source: {folder} must fit into this machine's memory; use a smaller student"
        ) from error


@contextmanager
def trained_student_errors(folder: Path) -> Iterator[None]:
    """Turn errors of reading a trained student from the store into StudentErrors."""
    try:
        yield
    except Exception as error:  # parsers raise many kinds of errors for damaged files
        if says_nothing_of_content(error):
            raise
        raise StudentError(
            f"{folder}: must hold a trained student, got {type(error).__name__}: {error}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return the object in the student's config.json.

    Raises:
        PackageError: there is none, it is too large, or the folder has an adapter or a broken link.
    """
    # Some of these files are not read, but a broken link among them means an incomplete copy.
    found = matching_files(folder, ("*.json", PATTERN))
    if ADAPTER in found:
        raise PackageError(
            f"{folder} must hold a whole student, got an adapter ({ADAPTER}); merge it into its "
            "model and save that"
        )
    if CONFIG not in found:
        raise PackageError(
            f"{folder} has no config.json; "
            "make the directory with model.save_pretrained and tokenizer.save_pretrained"
        )
    content = read_package(folder, [CONFIG]).contents[CONFIG]
    if len(content) > _MOST_CONFIG_BYTES:
        raise PackageError(
            f"{folder}/{CONFIG} must have at most {_MOST_CONFIG_BYTES} bytes, got {len(content)}"
        )
    return parse_json(f"{folder}/{CONFIG}", content)


def read_small_files(folder: Path, config: dict[str, Any]) -> PackageFiles:
    """Read all files except the weights; `config` is what `read_config` returned before.

    Raises:
        PackageError: config.json has changed since then.
    """
    small_files = read_package(folder, [CONFIG, GENERATION, *TOKENIZER_FILES])
    if parse_json(CONFIG, small_files.contents[CONFIG]) != config:
        raise PackageError(f"{folder} changed while it was read; try again")
    return small_files


def read_stored(folder: Path, names: list[str]) -> PackageFiles:
    """Read the files of these names, which hold the weights.

    Raises:
        PackageError: one of them is gone.
    """
    stored = read_package(folder, names)
    if set(stored.contents) != set(names):
        raise PackageError(f"{folder} changed while it was read; try again")
    return stored
