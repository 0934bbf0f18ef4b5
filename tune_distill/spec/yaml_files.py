"""Reading studies and profiles from YAML: shipped ones by name, a user's own by path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tune_distill.spec.domains import Scalar
from tune_distill.spec.errors import StudyFileError
from tune_distill.spec.faults import describe, nearest
from tune_distill.spec.keys import flatten
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.profile import Profile
from tune_distill.spec.shown import plain, shown
from tune_distill.spec.study import Study
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_text import MAX_CHARACTERS, dump_yaml, parse_yaml

STUDY_ORDER = (
    "smoothing",
    "temperature",
    "data_size",
    "decoding",
    "learning_rate",
    "sequence_length",
)
"""The shipped studies in the order in which `all` runs them. smoothing comes first, because it
trains the run that temperature, decoding, sequence_length and learning_rate share."""

Model = TypeVar("Model", bound=BaseModel)


def search_spaces_dir() -> Path:
    """Return the folder of shipped studies: in an installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def shipped_studies() -> list[str]:
    """Return the names of the shipped studies, in running order."""
    found = {path.stem for path in search_spaces_dir().glob("*.yaml")}
    return [name for name in STUDY_ORDER if name in found] + sorted(found - set(STUDY_ORDER))


def shipped_profiles() -> list[str]:
    """Return the names of the shipped profiles in alphabetical order."""
    return sorted(path.stem for path in (search_spaces_dir() / "profiles").glob("*.yaml"))


def load_study(name_or_path: str) -> Study:
    """Return the study of this name or in this file.

    Raises:
        StudyFileError: there is no such study, or its file is invalid; it lists every fault.
    """
    path = _find(name_or_path, search_spaces_dir(), "study", shipped_studies())
    return read_model(path, Study)


def load_profile(name_or_path: str) -> Profile:
    """Return the profile of this name or in this file.

    Raises:
        StudyFileError: there is no such profile, or its file is invalid; it lists every fault.
    """
    folder = search_spaces_dir() / "profiles"
    return read_model(_find(name_or_path, folder, "profile", shipped_profiles()), Profile)


def shipped_task(name: str) -> TaskDescription:
    """The description of a shipped task."""
    return read_model(search_spaces_dir() / "tasks" / f"{name}.yaml", TaskDescription)


def read_model(path: Path, model: type[Model]) -> Model:
    """Return the content of the YAML file as a `model`.

    Raises:
        StudyFileError: the file is not readable YAML, or is invalid; it lists every fault.
    """
    try:
        # One character beyond the limit shows that a file is too long without reading all of it.
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path}: must be a readable text file, got {error}") from error
    try:
        raw = parse_yaml(text)
    except yaml.YAMLError as error:
        flat = " ".join(str(error).split())[:400]
        raise StudyFileError(f"{path}: must be valid YAML, got {flat}") from error
    if not isinstance(raw, dict):
        got = "an empty file" if raw is None else type(raw).__name__
        raise StudyFileError(
            f"{path}: must be a mapping with {', '.join(model.model_fields)}, got {got}"
        )
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise StudyFileError("\n".join(describe(error, model, str(path)))) from error


def dump_study(resolved: ResolvedStudy) -> str:
    """Return the study as a YAML file with every choice written out, which runs the same again."""
    study = resolved.study.model_dump(exclude={"overrides", "profile_overrides"}, exclude_none=True)
    study["replicates"] = len(resolved.seeds)
    study["overrides"] = flatten(resolved.profile.model_dump())
    return (
        f"# Resolved from profile {resolved.profile_name}; runs the same again.\n{dump_yaml(study)}"
    )


def dump_task(task: TaskDescription) -> str:
    """The task's description: a task file that asks the same."""
    return dump_yaml(task.model_dump(exclude_none=True))


def parse_assignments(assignments: Iterable[str]) -> dict[str, Scalar]:
    """Return the fields of `--set train.num_epochs=1 ...`.

    Raises:
        StudyFileError: an argument has no "=".
    """
    fields: dict[str, Scalar] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise StudyFileError(
                f"--set: must be field=value, got {shown(assignment)}; "
                "for example train.num_epochs=1"
            )
        fields[path.strip()] = _parse_scalar(text)
    return fields


def _parse_scalar(text: str) -> Any:
    """Return the value of `text` as in a YAML file: 1e-3 is a number, null is None."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text


def _find(name_or_path: str, folder: Path, kind: str, shipped: list[str]) -> Path:
    if name_or_path in shipped:
        return folder / f"{name_or_path}.yaml"
    path = Path(name_or_path).expanduser()
    # Path.is_file raises an error for a name that is too long.
    if os.path.isfile(path):
        return path
    if path.suffix in {".yaml", ".yml"} or path.name != name_or_path:
        raise StudyFileError(
            f"{plain(name_or_path)}: no such {kind} file; shipped are {', '.join(shipped)}"
        )
    raise StudyFileError(f"{plain(name_or_path)}: no such {kind}{nearest(name_or_path, shipped)}")
