"""What travels with a job: the package, a study's files, and the directories that they name.

It is packed into one archive, which Ray unpacks as the working directory of the job's processes on
every node. Packing the same files again gives the same archive, which Ray need not be sent twice.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tune_distill
from tune_distill.distill.students import STUDENT_FILES, student_identity
from tune_distill.options import Options
from tune_distill.records.environment import environment
from tune_distill.records.leftovers import scratch
from tune_distill.spec.domains import Cases, Scalar, Values
from tune_distill.spec.errors import DataError, StudyFileError
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.profile import MINI_CORPUS, MINI_STUDENT
from tune_distill.spec.yaml_files import search_spaces_dir, shipped_profiles, shipped_studies

LIMIT_BYTES = 100 * 2**20
"""What a head's dashboard takes in one upload."""

DATA_FILES = ("*.csv", "*.jsonl", "*.parquet")

_SOURCE_FILES = {"student": STUDENT_FILES, "data": DATA_FILES}
# Compressed already, or numbers that look like noise.
_STORED = (".safetensors", ".parquet", ".png")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass
class Bundle:
    """What travels, by its place in the archive; `notes` are for the user."""

    files: dict[str, Path | bytes]
    notes: list[str] = field(default_factory=list)

    def write(self, archive: Path) -> None:
        """`archive` is a zip of the files.

        Raises:
            StudyFileError: it would be larger than a head takes.
        """
        if not _packs(self.files, archive):
            largest, size = _largest(self.files)
            raise StudyFileError(
                f"submit: what travels must pack into {_mib(LIMIT_BYTES)}, got more, of which "
                f"{largest} has {_mib(size)}; {_REMEDY}"
            )


def package_bundle() -> Bundle:
    """The package as it runs here, with its studies inside, as in a wheel."""
    package = Path(tune_distill.__file__).parent
    files: dict[str, Path | bytes] = {}
    for root, place in ((package, "tune_distill"), (search_spaces_dir(), _SEARCH_SPACES)):
        files |= {f"{place}/{path.relative_to(root).as_posix()}": path for path in _sources(root)}
    if (commit := environment()["git_commit"]) is not None:
        files["tune_distill/commit.txt"] = f"{commit}\n".encode()
    return Bundle(files)


def study_bundle(options: Options, studies: Sequence[ResolvedStudy]) -> tuple[Bundle, Options]:
    """What the study command needs there, and its options with the files' names there.

    Raises:
        StudyFileError: a directory is named in a way in which it cannot travel, or is too large.
        StudentError: a directory that is named holds no student.
        DataError: a directory that is named holds no data.
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
    return bundle, options


_SEARCH_SPACES = "tune_distill/search_spaces"
_REMEDY = "put it on the cluster's head and name it by its absolute path there, or use a hub id"


def _sources(root: Path) -> Iterator[Path]:
    """The files below a folder, without what Python and editors leave."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside):
            yield path


def _add_file(bundle: Bundle, folder: str, name: str) -> str:
    """The place of the user's file, under its own name: profile_overrides go by it."""
    path = Path(name).expanduser()
    place, number = f"{folder}/{path.name}", 1
    while place in bundle.files:
        number += 1
        place = f"{folder}/{number}/{path.name}"
    bundle.files[place] = path.read_bytes()
    return place


def _add_source(
    bundle: Bundle, section: str, options: Options, studies: Sequence[ResolvedStudy]
) -> Options:
    """The options with the directory that a section names, if it is one of this machine."""
    name = f"{section}.source"
    fixed = [study for study in studies if name not in study.study.varied_fields()]
    named = {str(getattr(study.profile, section).source) for study in fixed}
    local = sorted(source for source in named if _is_here(source, name))
    if not local:
        return options
    if len(named) > 1:
        raise StudyFileError(
            f"{name}: studies that travel together must name the same one, got "
            f"{', '.join(sorted(named))}; submit them one by one"
        )
    # Its own name, where it was named by dots.
    folder = Path(local[0]).resolve()
    if section == "student":
        student_identity(fixed[0].profile.student)
    files = _source_files(section, folder)
    given = options.sources().get(section)
    if not _fits(files):
        if given is None or not Path(given).expanduser().is_absolute():
            raise StudyFileError(
                f"{name}: must pack into {_mib(LIMIT_BYTES)} to travel, got {folder} with "
                f"{_mib(_size(files))}; {_REMEDY}"
            )
        bundle.notes.append(
            f"{folder} is too large to travel ({_mib(_size(files))}): expected on the cluster's "
            "head under the same path"
        )
        return options
    bundle.files |= files
    kept = [text for text in options.set if text.partition("=")[0].strip() != name]
    place = {section: _source_place(section, folder)}
    return replace(options, set=kept, **place)  # type: ignore[arg-type]


def _is_here(source: str, name: str) -> bool:
    """Whether the source is on this machine; by then it has an absolute path.

    Raises:
        StudyFileError: a relative path where nothing is.
    """
    if source in (MINI_STUDENT, MINI_CORPUS):
        return False
    if source.startswith(("./", "../")):
        raise StudyFileError(
            f"{name}: no such directory here, got {source}; one of the cluster's head is named by "
            "its absolute path"
        )
    return Path(source).is_absolute() and Path(source).exists()


def _source_files(section: str, folder: Path) -> dict[str, Path | bytes]:
    place = _source_place(section, folder)
    named = {path for pattern in _SOURCE_FILES[section] for path in folder.glob(pattern)}
    # A named pipe would hang.
    found = {path for path in named if path.is_file()}
    if not found:
        raise DataError(
            f"{section}.source: must be a directory with {', '.join(_SOURCE_FILES[section])}, got "
            f"{folder}"
        )
    return {f"{place}/{path.name}": path for path in sorted(found)}


def _source_place(section: str, folder: Path) -> str:
    return f"sources/{section}/{folder.name}"


def _require_no_other_directory(resolved: ResolvedStudy) -> None:
    """Nothing, where no directory is named where its name could not be changed."""
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
        if not path.is_absolute() and path.is_dir() and value not in (MINI_STUDENT, MINI_CORPUS):
            raise StudyFileError(
                f"study {study.name}: {name}: this directory does not travel, got {value}; "
                f"{_REMEDY}"
            )


def _fits(files: Mapping[str, Path | bytes]) -> bool:
    if _size(files) <= LIMIT_BYTES:
        return True
    with scratch() as folder:
        return _packs(files, folder / "fits.zip")


def _packs(files: Mapping[str, Path | bytes], archive: Path) -> bool:
    """Whether the files fit into an archive that a head takes, which is then at `archive`."""
    with archive.open("wb") as stream, zipfile.ZipFile(stream, "w") as packed:
        for place in sorted(files):
            content = files[place]
            member = zipfile.ZipInfo(place, _EPOCH)
            member.external_attr = 0o644 << 16
            stored = place.endswith(_STORED)
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            if stored and stream.tell() + _bytes(content) > LIMIT_BYTES:
                return False
            if isinstance(content, bytes):
                packed.writestr(member, content)
            else:
                member.file_size = content.stat().st_size
                with content.open("rb") as source, packed.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            if stream.tell() > LIMIT_BYTES:
                return False
    return archive.stat().st_size <= LIMIT_BYTES


def _largest(files: Mapping[str, Path | bytes]) -> tuple[str, int]:
    """The directory with the most bytes, and how many."""
    sizes: dict[str, int] = {}
    for content in files.values():
        if isinstance(content, Path):
            folder = str(content.parent)
            sizes[folder] = sizes.get(folder, 0) + _bytes(content)
    return max(sizes.items(), key=lambda item: item[1])


def _size(files: Mapping[str, Path | bytes]) -> int:
    return sum(_bytes(content) for content in files.values())


def _bytes(content: Path | bytes) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
