"""e-SNLI examples are read from wherever they are: files, the hub, or the built-in generator.

Two column layouts are understood, in CSV, JSONL and Parquet: the authors' (`Sentence1`,
`Sentence2`, `gold_label`, `Explanation_1..3`) and the hub's (`premise`, `hypothesis`, `label`,
`explanation_1..3`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_distill.distill.examples import LABELS, Example
from tune_distill.distill.hub import use_cache_if_offline
from tune_distill.distill.mini_corpus import mini_nli
from tune_distill.spec.errors import DataError
from tune_distill.spec.profile import MINI_CORPUS

if TYPE_CHECKING:
    import pandas as pd

ESNLI = "esnli"
"""The name that stands for e-SNLI on the hub."""

# Script data sets no longer load; the hub keeps their Parquet conversion on this branch.
_ESNLI_REPOSITORY, _ESNLI_REVISION = "esnli/esnli", "refs/convert/parquet"

_SPLIT_WORDS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}}

_EXPLANATIONS = ("explanation_1", "explanation_2", "explanation_3")
_HUB = ("premise", "hypothesis", "label", *_EXPLANATIONS)
_AUTHORS = ("Sentence1", "Sentence2", "gold_label", *map(str.capitalize, _EXPLANATIONS))


@dataclass(frozen=True)
class RawCorpus:
    """The usable examples of a source in file order, and how many rows were dropped, and why.

    `dropped` maps a split to a count for each reason.
    """

    train: list[Example]
    validation: list[Example]
    dropped: dict[str, dict[str, int]]


def read_source(source: str) -> RawCorpus:
    """The examples of `data.source`.

    Raises:
        DataError: nothing is there, a column is missing, a label is unknown, or no row is usable.
    """
    if source == MINI_CORPUS:
        return RawCorpus(mini_nli("train"), mini_nli("validation"), {})
    path = Path(source).expanduser()
    if path.is_dir():
        return _corpus(source, lambda split: _read_directory(path, split))
    if path.exists():
        raise DataError(f"data.source: must be a directory, got the file {source}; name its folder")
    if source == ESNLI or _looks_like_hub_id(source):
        return _corpus(source, lambda split: _read_hub(source, split))
    raise DataError(
        f"data.source: no such directory, got {source}; "
        f"use a folder with train and validation files, {ESNLI!r} for the hub, or {MINI_CORPUS!r}"
    )


def _corpus(source: str, read: Callable[[str], pd.DataFrame]) -> RawCorpus:
    examples: dict[str, list[Example]] = {}
    dropped: dict[str, dict[str, int]] = {}
    for split in ("train", "validation"):
        reasons: Counter[str] = Counter()
        examples[split] = list(_examples(read(split), split, source, reasons))
        dropped[split] = dict(reasons)
        if not examples[split]:
            why = ", ".join(f"{count} dropped: {reason}" for reason, count in reasons.items())
            raise DataError(
                f"{source}: the {split} split has no usable row ({why or 'it is empty'})"
            )
    return RawCorpus(examples["train"], examples["validation"], dropped)


def _read_directory(folder: Path, split: str) -> pd.DataFrame:
    """All files of one split, one under the other, in name order and the hub's columns."""
    import pandas as pd

    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in _READERS and _split_of(path) == split
    ]
    if not files:
        raise DataError(
            f"{folder}: no {split} file, got {_listing(folder)}; "
            f"name one {split}.csv, {split}.jsonl or {split}.parquet"
        )
    if len({path.suffix for path in files}) > 1:
        names = ", ".join(path.name for path in files)
        raise DataError(f"{folder}: one format a split, got {names}; remove the copies")
    return pd.concat([_read_file(path) for path in files], ignore_index=True)


def _read_file(path: Path) -> pd.DataFrame:
    try:
        frame = _READERS[path.suffix](path)
    # pandas' own errors are ValueErrors; a JSON line that is no object is a TypeError there.
    except (ValueError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: must be readable {path.suffix[1:]}, got: {reason}") from error
    return _in_hub_columns(frame, str(path))


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    # Text stays text: "None", "NA" and "null" are words of some explanations.
    return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)


def _read_jsonl(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_json(path, lines=True, dtype=False)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)


_READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def _read_hub(source: str, split: str) -> pd.DataFrame:
    import datasets

    name, _, revision = source.partition("@")
    if source == ESNLI:
        name, revision = _ESNLI_REPOSITORY, _ESNLI_REVISION
    use_cache_if_offline(name, "dataset", revision or None)
    try:
        rows = datasets.load_dataset(name, revision=revision or None, split=split)
        frame: pd.DataFrame = rows.to_pandas()
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"data.source: {source!r} must be reachable on the hub, got {type(error).__name__}: "
            f"{reason}; use --data DIR for files on disk, or --profile mini, which needs no network"
        ) from error
    return _in_hub_columns(frame, f"{source} ({split})")


def _in_hub_columns(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The columns that are read, under the hub's names."""
    present = set(frame.columns)
    for layout in (_AUTHORS, _HUB):
        if {*layout[:3]} <= present and {*layout[3:]} & present:
            read = [name for name in ("pairID", *layout) if name in present]
            return frame[read].rename(columns=dict(zip(layout, _HUB, strict=True)))
    raise DataError(
        f"{where}: must have the columns Sentence1, Sentence2, gold_label, Explanation_1 "
        f"(or premise, hypothesis, label, explanation_1), got {', '.join(map(str, frame.columns))}"
    )


def _examples(
    frame: pd.DataFrame, split: str, source: str, dropped: Counter[str]
) -> Iterator[Example]:
    ids = frame["pairID"] if "pairID" in frame.columns else None
    texts = [frame[name] for name in _HUB if name != "label" and name in frame.columns]
    for row, (gold, *cells) in enumerate(zip(frame["label"], *texts, strict=True)):
        name = _label(gold, f"{source}: {split} row {row}")
        first, second, *reasons = (_text(cell) for cell in cells)
        references = tuple(reason for reason in reasons if reason)
        if name is None:
            dropped["no gold label"] += 1
        elif not first or not second:
            dropped["empty sentence"] += 1
        elif not references:
            dropped["no explanation"] += 1
        else:
            # A pair may carry several annotations under one pairID; the row keeps ids unique.
            example_id = f"{split}-{row}" if ids is None else f"{ids.iloc[row]}-{row}"
            yield Example(example_id, first, second, name, references)


def _label(gold: Any, where: str) -> str | None:
    """The label's name; None for the authors' "-" and the hub's -1: annotators disagreed."""
    if gold is None or (isinstance(gold, float) and math.isnan(gold)):
        return None
    # One missing label makes floats of a column of integers.
    text = f"{gold:g}" if isinstance(gold, float) else str(gold).strip().lower()
    if text in LABELS:
        return text
    if text in {"0", "1", "2"}:
        return LABELS[int(text)]
    if text in {"-", "-1", ""}:
        return None
    raise DataError(f"{where}: label must be one of {', '.join(LABELS)} or 0, 1, 2, got {gold!r}")


def _text(cell: Any) -> str:
    # JSONL and Parquet give None or NaN for a missing explanation.
    return cell.strip() if isinstance(cell, str) else ""


def _split_of(path: Path) -> str | None:
    words = set(re.split(r"[^a-z]+", path.stem.lower()))
    return next((split for split, names in _SPLIT_WORDS.items() if words & names), None)


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (
        ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "an empty folder"
    )


def _looks_like_hub_id(source: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?", source) is not None
