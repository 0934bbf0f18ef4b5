"""Results folders with real tables, and parcels of them."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tune_distill.records.parcel import pack
from tune_distill.records.places import Folder
from tune_distill.spec.yaml_files import search_spaces_dir

TABLES = (
    "trials.parquet",
    "trials.csv",
    "history.parquet",
    "predictions.parquet",
    "study.yaml",
    "environment.json",
)
OTHERS = ("report.html", "summary.json", "notes.txt", "trials (copy).csv", ".trials.csv.1.tmp")


def trials_of_study(study: str, seed: int = 0) -> pa.Table:
    """Return a trials table with the columns that every version wrote."""
    rows = [
        {
            "study": study,
            "trial_id": f"{number}",
            "state": "complete",
            "seed": seed,
            "run_key": f"r{number}",
            "evaluation_key": f"e{number}",
            "rougeL": 0.25 * seed,
        }
        for number in range(4)
    ]
    return pa.Table.from_pylist(rows)


def noise(path: Path, num_rows: int, row_bytes: int, seed: int = 0) -> None:
    """Write predictions that do not compress."""
    made = random.Random(seed)
    texts = [made.randbytes(row_bytes // 2).hex() for _ in range(num_rows)]
    columns = {
        "trial_id": [str(number % 4) for number in range(num_rows)],
        "example_id": [str(number) for number in range(num_rows)],
        "prediction": pa.array(texts, pa.string()),
    }
    pq.write_table(pa.table(columns), path, compression="none", row_group_size=1000)


def make_study(results: Path, name: str, size: int = 1000, seed: int = 0) -> Path:
    """Make a study's folder with all tables, and with files that are not sent.

    `size` is the approximate size in bytes of the predictions.
    """
    folder = results / name
    (folder / "figures").mkdir(parents=True)
    trials = trials_of_study(name, seed)
    pq.write_table(trials, folder / "trials.parquet")
    pacsv.write_csv(trials, folder / "trials.csv")
    history = pa.table({"trial_id": ["0", "1"], "step": [1, 2], "train_loss": [1.0, float(seed)]})
    pq.write_table(history, folder / "history.parquet")
    noise(folder / "predictions.parquet", size // 100, 100, seed)
    study = (search_spaces_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    (folder / "study.yaml").write_text(study + f"# {seed}\n", encoding="utf-8")
    (folder / "environment.json").write_text(f'{{"python": "3.{seed}"}}')
    for file in (*OTHERS, "figures/effects.png"):
        (folder / file).write_bytes(random.Random(seed).randbytes(size))
    return folder


def lines_of(results: Path, *studies: str) -> list[str]:
    """Return the lines of a parcel of these studies."""
    lines: list[str] = []
    pack(Folder(results), studies, lines.append)
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file directly in the folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
