"""The files that are sent with a job: the package, a study's files and the directories they name.

They are packed into one archive, which Ray unpacks as the working directory of the job's processes
on every node. The same files give the same archive, so Ray gets it only once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import tune_distill
from tune_distill.cli import packing
from tune_distill.cli.options import Options
from tune_distill.cli.packing import REMEDY, Bundle, fits, mib, size
from tune_distill.records.environment import environment
from tune_distill.records.names import require_name
from tune_distill.spec.domains import Cases, Scalar, Values
from tune_distill.spec.errors import DataError, StudyFileError
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.profile import MINI_CORPUS, MINI_STUDENT
from tune_distill.spec.yaml_files import search_spaces_dir, shipped_profiles, shipped_studies
from tune_distill.students.folder import STUDENT_FILES
from tune_distill.students.registry import student_identity

DATA_FILES = ("*.csv", "*.jsonl", "*.parquet")

_SOURCE_FILES = {"student": STUDENT_FILES, "data": DATA_FILES}
_PACKAGE_FILES = (".py", ".yaml", ".json", ".html", ".css", ".js")
# Matches names of files with secrets, but not tokenizer.json and added_tokens.json.
_SECRET_FILE = re.compile(
    r"(^|[._-])((auth_?)?token|secrets?|credentials?|passwords?|api_?key|service_?account)([._-]|$)",
    re.IGNORECASE,
)


def package_bundle() -> Bundle:
    """Return a bundle of the package with its studies inside, as in a wheel."""
    package = Path(tune_distill.__file__).parent
    files: dict[str, Path | bytes] = {}
    for root, place in ((package, "tune_distill"), (search_spaces_dir(), _SEARCH_SPACES)):
        files |= {f"{place}/{path.relative_to(root).as_posix()}": path for path in _sources(root)}
    if (commit := environment()["git_commit"]) is not None:
        files["tune_distill/commit.txt"] = f"{commit}\n".encode()
    return Bundle(files)


def study_bundle(options: Options, studies: Sequence[ResolvedStudy]) -> tuple[Bundle, Options]:
    """Return the files that the study command needs, and its options with the names on the cluster.

    Raises:
        StudyFileError: a directory is named in a field in which it cannot be sent, or is too large.
        StudentError: a directory named as the student has none.
        DataError: a directory named as data has none.
    """
    bundle = package_bundle()
    names = [
        name if name in ("all", *shipped_studies()) else _add_file(bundle, "studies", name)
        for name in options.studies
    ]
    profile = options.profile
    if profile not in shipped_profiles():
        profile = _add_file(bundle, "profiles", profile)
    options = replace(options, studies=names, profile=profile)
    for study in studies:
        _require_no_other_directory(study)
    for section in _SOURCE_FILES:
        options = _add_source(bundle, section, options, studies)
    return bundle, _add_task(bundle, options, studies)


_SEARCH_SPACES = "tune_distill/search_spaces"


def _sources(root: Path) -> Iterator[Path]:
    """Yield the package's files below a folder, without those of Python, editors or users."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        hidden = any(part.startswith((".", "__pycache__")) for part in inside)
        if path.suffix in _PACKAGE_FILES and path.is_file() and not hidden:
            yield path


def _add_file(bundle: Bundle, folder: str, name: str) -> str:
    """Add the user's file under its own name, which profile_overrides use; return its place."""
    path = Path(name).expanduser()
    place, number = require_name(f"{folder}/{path.name}", "submit"), 1
    while place in bundle.files:
        number += 1
        place = f"{folder}/{number}/{path.name}"
    bundle.files[place] = path.read_bytes()
    return place


def _add_source(
    bundle: Bundle, section: str, options: Options, studies: Sequence[ResolvedStudy]
) -> Options:
    """Add the section's directory if it is on this machine; return options with its new name."""
    name = f"{section}.source"
    fixed = [study for study in studies if name not in study.study.varied_fields()]
    named = {str(getattr(study.profile, section).source) for study in fixed}
    local = sorted(source for source in named if _is_here(source, name))
    if not local:
        return options
    if len(named) > 1:
        raise _differ(name, sorted(named))
    # Resolve names such as "." to the directory's own name.
    folder = Path(local[0]).resolve()
    if section == "student":
        student_identity(fixed[0].profile.student)
    files = _source_files(section, folder)
    given = options.sources().get(section)
    if not fits(files):
        if given is None or not Path(given).expanduser().is_absolute():
            raise StudyFileError(
                f"{name}: must pack into {mib(packing.LIMIT_BYTES)} to travel, got {folder} with "
                f"{mib(size(files))}; {REMEDY}"
            )
        bundle.notes.append(
            f"{folder} is too large to travel ({mib(size(files))}): expected on the cluster's "
            "head under the same path"
        )
        return options
    bundle.files |= files
    kept = _without_field(options, name)
    place = {section: _source_place(section, folder)}
    return replace(options, set=kept, **place)  # type: ignore[arg-type]


def _add_task(bundle: Bundle, options: Options, studies: Sequence[ResolvedStudy]) -> Options:
    """The options with the place of the task's file, if it is the user's own."""
    named = sorted({study.profile.task.source for study in studies})
    if not any(os.path.isfile(source) for source in named):
        return options
    if len(named) > 1:
        raise _differ("task.source", named)
    place = _add_file(bundle, "tasks", named[0])
    kept = _without_field(options, "task.source")
    return replace(options, set=[*kept, f"task.source={place}"])


def _differ(name: str, named: Sequence[str]) -> StudyFileError:
    return StudyFileError(
        f"{name}: studies that travel together must name the same one, got "
        f"{', '.join(named)}; submit them one by one"
    )


def _without_field(options: Options, name: str) -> list[str]:
    """The arguments of --set, but those for this field."""
    return [text for text in options.set if text.partition("=")[0].strip() != name]


def _is_here(source: str, name: str) -> bool:
    """Return whether the source is a directory of this machine; refuse an absent relative path."""
    if source in (MINI_STUDENT, MINI_CORPUS):
        return False
    if source.startswith(("./", "../")):
        raise StudyFileError(
            f"{name}: no such directory here, got {source}; one of the cluster's head is named by "
            "its absolute path"
        )
    return os.path.isabs(source) and os.path.exists(source)


def _source_files(section: str, folder: Path) -> dict[str, Path | bytes]:
    place = _source_place(section, folder)
    matching = {path for pattern in _SOURCE_FILES[section] for path in folder.glob(pattern)}
    found = {path for path in matching if not path.name.startswith(".")}
    for path in found:
        if not path.is_file():
            raise DataError(
                f"{section}.source: must hold files only under the names that are read, got "
                f"{path}, which is none; remove it"
            )
        require_name(f"{place}/{path.name}", f"{section}.source")
        if _SECRET_FILE.search(path.name):
            raise StudyFileError(
                f"{section}.source: must hold no secrets, because what travels to a cluster is "
                f"read by all its users, got {path}, whose name is that of one; move it elsewhere"
            )
    if not found:
        raise DataError(
            f"{section}.source: must be a directory with {', '.join(_SOURCE_FILES[section])}, got "
            f"{folder}"
        )
    return {f"{place}/{path.name}": path for path in sorted(found)}


def _source_place(section: str, folder: Path) -> str:
    return f"sources/{section}/{folder.name}"


def _require_no_other_directory(resolved: ResolvedStudy) -> None:
    """Raise StudyFileError if a directory is named in a field that cannot be changed."""
    study, encoder = resolved.study, resolved.profile.metrics.bertscore_model
    named: list[tuple[str, Scalar]] = [("metrics.bertscore_model", encoder)]
    for name, domain in study.vary.items():
        if isinstance(domain, Cases):
            named += [item for case in domain.cases.values() for item in case.items()]
        elif isinstance(domain, Values):
            named += [(name, value) for value in domain.values]
    for name, value in named:
        if not isinstance(value, str) or not name.endswith((".source", ".bertscore_model")):
            continue
        path = Path(value)
        if (
            not path.is_absolute()
            and os.path.isdir(path)
            and value not in (MINI_STUDENT, MINI_CORPUS)
        ):
            raise StudyFileError(
                f"study {study.name}: {name}: this directory does not travel, got {value}; {REMEDY}"
            )
