"""Students are found, identified and loaded: the built-in one, a directory, or a hub id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from tune_distill.records.refusals import says_nothing_of_content
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import MINI_STUDENT, Student

if TYPE_CHECKING:
    import torch
    from transformers import T5Config

_WEIGHTS = "model*.safetensors"
STUDENT_FILES = ("*.json", _WEIGHTS, "spiece.model")
"""What a student is made of: the same files give the same identity."""
_MINI_PARAMETERS = 500_000
# One table under three names, of which files hold one or more.
_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model")


def student_identity(student: Student) -> dict[str, str]:
    """What the student is by content: a built-in's version, a hub commit, or a digest of files.

    Raises:
        StudentError: the directory lacks a file, or the hub can't be reached and has no copy here.
    """
    if student.source == MINI_STUDENT:
        from tune_distill.distill.mini_student import MINI_STUDENT_VERSION

        return {"builtin": MINI_STUDENT, "version": str(MINI_STUDENT_VERSION)}
    folder = Path(student.source).expanduser()
    if folder.is_dir():
        _require_t5(folder)
        return {"files_digest": _digest_files(folder)}
    if student.source.startswith((".", "/", "~")) or folder.exists():
        raise StudentError(
            f"student.source: must be a directory made with save_pretrained, got {student.source}; "
            "check the path"
        )
    folder = download(student)
    # The hub's cache keeps each commit in a folder of that name.
    return {"hub": student.source, "commit": folder.name}


def download(student: Student) -> Path:
    """The local folder of a hub student, downloaded only where the cache lacks it.

    Raises:
        StudentError: there is no copy here and the hub can't be reached or has no such student.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from tune_distill.distill.hub import cache_if_unreachable

    # A commit does not change: a copy in the cache is as good as the hub.
    pinned = re.fullmatch("[0-9a-f]{40}", student.revision or "") is not None
    if pinned and (copy := _cached(student)) is not None:
        return copy
    where = f"student.source: {student.source!r} must be on the hub or in its cache here"
    remedy = "use --student DIR for a local T5, or --profile mini, which needs no network"
    try:
        with cache_if_unreachable(student.source, "model", student.revision):
            folder = Path(
                snapshot_download(
                    student.source, revision=student.revision, allow_patterns=list(STUDENT_FILES)
                )
            )
    except LocalEntryNotFoundError as error:
        raise StudentError(f"{where}, got no answer and no copy; {remedy}") from error
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        reason = " ".join(str(error).split())[:300]
        raise StudentError(f"{where}, got {type(error).__name__}: {reason}; {remedy}") from error
    _require_t5(folder)
    return folder


def _cached(student: Student) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                student.source,
                revision=student.revision,
                allow_patterns=list(STUDENT_FILES),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def load_tokenizer(student: Student) -> Any:
    """The student's tokenizer."""
    if student.source == MINI_STUDENT:
        from tune_distill.distill.mini_student import mini_tokenizer

        return mini_tokenizer()
    from transformers import AutoTokenizer

    return _load(AutoTokenizer.from_pretrained, student)


def load_weights(student: Student) -> tuple[T5Config, dict[str, torch.Tensor]]:
    """The student's configuration, and its weights by HF's names, in float32 on the CPU.

    What its files hold beside a T5's weights is left out. The head is left out where it is the
    embeddings once more: HF ties them then, whatever the configuration says.

    Raises:
        StudentError: a file is damaged or lacks weights, or the hub can't be reached.
    """
    if student.source == MINI_STUDENT:
        from tune_distill.distill.mini_student import mini_student

        model = mini_student()
        return model.config, {name: value.detach() for name, value in model.named_parameters()}
    import torch
    from transformers import T5Config

    config: T5Config = _load(T5Config.from_pretrained, student)
    tensors = _load(_read_weights, student)
    shared = next((tensors[name] for name in _EMBEDDINGS if name in tensors), None)
    if shared is not None:
        tensors = {"shared.weight": shared} | tensors
        if torch.equal(tensors.get("lm_head.weight", shared), shared):
            tensors.pop("lm_head.weight", None)
    return config, tensors


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder in float32; as HF, of one file where there is one."""
    from safetensors.torch import load_file

    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob(_WEIGHTS))
    return {name: value.float() for path in files for name, value in load_file(path).items()}


def num_parameters(student: Student) -> float:
    """About how many parameters the student has, without loading it: float32 takes four bytes."""
    if student.source == MINI_STUDENT:
        return _MINI_PARAMETERS
    return sum(path.stat().st_size for path in _folder(student).glob(_WEIGHTS)) / 4


def _folder(student: Student) -> Path:
    folder = Path(student.source).expanduser()
    return folder if folder.is_dir() else download(student)


def _load(load: Callable[[Path], Any], student: Student) -> Any:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = _folder(student)
    try:
        return load(folder)
    except Exception as error:  # damaged files raise whatever their parser raises
        if says_nothing_of_content(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise StudentError(
            f"student.source: {student.source} must load as a T5, "
            f"got {type(error).__name__}: {reason}"
        ) from error


def _require_t5(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise StudentError(
            f"student.source: {folder} has no config.json; "
            "make the directory with model.save_pretrained and tokenizer.save_pretrained"
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudentError(f"student.source: {folder}/config.json must be JSON: {error}") from error
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if kind != "t5":
        raise StudentError(f"student.source: {folder} must hold a T5, got model_type {kind!r}")
    if not list(folder.glob(_WEIGHTS)):
        raise StudentError(
            f"student.source: {folder} has no weights ({_WEIGHTS}); "
            "save them with model.save_pretrained (older formats unpickle code and are not read)"
        )
    for path in sorted(folder.glob(_WEIGHTS)):
        _require_safetensors(path)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise StudentError(
            f"student.source: {folder} has no tokenizer ({' or '.join(_TOKENIZER_FILES)}); "
            "save it with tokenizer.save_pretrained"
        )


def _require_safetensors(path: Path) -> None:
    """Nothing, where the header fits the file: a cut copy is found before a worker starts."""
    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise StudentError(
            f"student.source: {path} must be whole safetensors, got {error}; copy it again"
        ) from error


def _digest_files(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that make the student."""
    digest = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.name}:{content}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """The files that make the student, in a fixed order."""
    return sorted({path for pattern in STUDENT_FILES for path in folder.glob(pattern)})
