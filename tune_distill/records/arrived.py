"""Fetched tables: check all of them, then replace the older ones."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tune_distill.records.files import put
from tune_distill.records.leftovers import locked, remove_abandoned
from tune_distill.records.names import joined
from tune_distill.records.refusals import explained
from tune_distill.records.schemas import misfit
from tune_distill.records.tables import TRIALS_FILE
from tune_distill.spec.errors import ClusterError, StudyFileError
from tune_distill.spec.yaml_files import load_study

_TABLE_BYTES, _TEXT_BYTES = 2 * 2**30, 2**20

FILES = {
    TRIALS_FILE: _TABLE_BYTES,
    "trials.csv": _TABLE_BYTES,
    "history.parquet": _TABLE_BYTES,
    "predictions.parquet": _TABLE_BYTES,
    "examples.parquet": _TABLE_BYTES,
    "study.yaml": _TEXT_BYTES,
    "environment.json": _TEXT_BYTES,
}
"""The files of a study's folder, and the most bytes that each may have."""

# Columns that every version wrote, and that readers need to tell rows apart and to join tables.
_COLUMNS = {
    TRIALS_FILE: {"study", "trial_id", "state", "seed", "run_key", "evaluation_key"},
    "history.parquet": {"trial_id", "step"},
    "predictions.parquet": {"trial_id", "example_id"},
    "examples.parquet": {"example_id"},
}

# A few bytes of Parquet can stand for any number of rows.
_MOST_ROWS = 10**8
_BATCH_ROWS = 2**14


def broken(got: str) -> ClusterError:
    """Return the error for a fetched answer that is not used."""
    return ClusterError(f"fetch: the tables must arrive whole, got {got}; fetch them again")


@contextmanager
def waiting_folder(results: Path) -> Iterator[Path]:
    """Yield an empty hidden folder on the file system of `results`; it is removed afterwards."""
    with explained(results):
        results.mkdir(parents=True, exist_ok=True)
        remove_abandoned(results)
        folder = joined(results, f".fetch.{uuid.uuid4().hex[:12]}.tmp")
        with locked(folder, lambda path: path.mkdir(mode=0o700)):
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def require_tables(folder: Path, study: str, names: Sequence[str]) -> None:
    """Check that the files of one study are readable, have our columns and belong to the study.

    Raises:
        ClusterError: a file fails one of these checks.
    """
    for name in names:
        if name.startswith(f"{study}/"):
            _require_table(joined(folder, name), name, study)


def replace_together(arrived: Path, results: Path, names: Sequence[str]) -> None:
    """Move the files from `arrived` to `results`; if one cannot be moved, restore the old files.

    Raises:
        StoreError: the file system refuses.
    """
    former = joined(arrived, ".former")
    done: list[str] = []
    # A trials table makes the other tables visible, so it comes last.
    ordered = sorted(names, key=lambda name: name.endswith(f"/{TRIALS_FILE}"))
    try:
        for name in ordered:
            target = joined(results, name)
            with explained(target):
                _keep(target, joined(former, name))
                done.append(name)
                put(joined(arrived, name), target)
    except BaseException:
        for name in done:
            target, kept = joined(results, name), joined(former, name)
            with suppress(OSError):
                os.replace(kept, target) if kept.exists() else target.unlink()
        raise


def _keep(path: Path, kept: Path) -> None:
    """Link or copy the file at `path`, if there is one, to `kept`."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        try:
            os.link(path, kept)
        except FileNotFoundError:
            raise
        # Not every file system has links.
        except OSError:
            shutil.copy2(path, kept)


def _require_table(path: Path, name: str, study: str) -> None:
    try:
        told = _names_of_studies(path)
    # pyarrow's own errors are ValueErrors, KeyErrors, and OSErrors without a number. It raises
    # MemoryError if a damaged page claims an absurd size.
    except (ValueError, KeyError, OSError, MemoryError, pa.ArrowException, RecursionError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            with explained(path):
                raise
        raise broken(f"{name} that cannot be read ({_said(error)})") from error
    except StudyFileError as error:
        raise broken(f"{name} that is no study ({_said(error)})") from error
    if told - {study}:
        other = sorted(told - {study})[0]
        raise broken(f"{name} of another study, {other[:100]!r}")


def _names_of_studies(path: Path) -> set[str]:
    """Return the names of studies in the file; empty if its format has none."""
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".yaml":
        return {load_study(str(path)).name}
    if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
        raise ValueError("no JSON object")
    return set()


def _read_parquet(path: Path) -> set[str]:
    studies: set[str] = set()
    with pq.ParquetFile(path, pre_buffer=False) as file:
        missing = _COLUMNS[path.name] - set(file.schema_arrow.names)
        if missing:
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        if reason := misfit(path.stem, file.schema_arrow):
            raise ValueError(reason)
        if not 0 <= file.metadata.num_rows <= _MOST_ROWS:
            raise ValueError(f"{file.metadata.num_rows} rows, of at most {_MOST_ROWS}")
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            batch.validate(full=True)
            for column in sorted(_COLUMNS[path.name]):
                if batch.column(column).null_count:
                    raise ValueError(f"a null in column {column}")
            if path.name == TRIALS_FILE:
                studies |= set(map(str, batch.column("study").unique().to_pylist()))
    return studies


def _read_csv(path: Path) -> set[str]:
    studies: set[str] = set()
    options = pacsv.ConvertOptions(
        column_types={"study": pa.string(), "trial_id": pa.string()},
        include_columns=["study", "trial_id"],
    )
    parsing = pacsv.ParseOptions(newlines_in_values=True)
    with pacsv.open_csv(path, parse_options=parsing, convert_options=options) as batches:
        for batch in batches:
            studies |= set(map(str, batch.column("study").unique().to_pylist()))
    return studies


def _said(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
