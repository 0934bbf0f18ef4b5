"""Reads result tables as DataFrames."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tune_distill.records.schemas import gap, misfit
from tune_distill.spec.errors import StoreError

Table = Literal["trials", "history", "predictions", "examples"]
TABLES: tuple[Table, ...] = ("trials", "history", "predictions", "examples")


def load(study: str, *, results: str | Path = "results", table: Table = "trials") -> pd.DataFrame:
    """Return a table of a study, as results/README.md documents it.

    `load("smoothing")` gives the trials; `table` may also be "history", "predictions" or
    "examples".

    Raises:
        StoreError: there is no such table in `results`.
    """
    if table not in TABLES:
        raise StoreError(f"table: must be one of {', '.join(TABLES)}, got {table!r}")
    path = Path(results) / study / f"{table}.parquet"
    if not path.is_file():
        found = sorted(path.parent.name for path in Path(results).glob("*/trials.parquet"))
        raise StoreError(
            f"{path}: no such table; studies in {results} are {', '.join(found) or '(none)'}; "
            f"make it with python -m tune_distill.study {study}"
        )
    try:
        if reason := misfit(table, pq.read_schema(path)):
            raise pa.ArrowInvalid(reason)
        frame = pd.read_parquet(path)
        if reason := gap(table, frame.columns[frame.isna().any()]):
            raise pa.ArrowInvalid(reason)
        return frame
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path}: must be a Parquet table, got {error}; "
            f"make it again with python -m tune_distill.study {study}"
        ) from error


def load_all(*, results: str | Path = "results", table: Table = "trials") -> pd.DataFrame:
    """Return a table of every study in `results`, one below the other, with the column `study`.

    A parameter that a study does not vary is missing (NaN) in its rows.

    Raises:
        StoreError: there is no such table in `results`.
    """
    studies = sorted(path.parent.name for path in Path(results).glob("*/trials.parquet"))
    if not studies:
        raise StoreError(
            f"{results}: must hold the folders of studies, got none; "
            "make one with python -m tune_distill.study smoothing"
        )
    frames = []
    for study in studies:
        frame = load(study, results=results, table=table)
        if "study" not in frame:
            frame.insert(0, "study", study)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
