"""The tables of results/README.md that document columns, written from their declarations.

`python -m tune_distill.records.schema_page` writes them into the page; its other text stays.
"""

from __future__ import annotations

import re
from pathlib import Path

from tune_distill.records.schemas import (
    EXAMPLES_AFTER_INPUTS,
    EXAMPLES_BEFORE_INPUTS,
    HISTORY,
    PREDICTIONS,
    TRIALS_AFTER_SETTING,
    TRIALS_BEFORE_SETTING,
    Column,
)

_IN_ORDER = (
    TRIALS_BEFORE_SETTING,
    TRIALS_AFTER_SETTING,
    HISTORY,
    PREDICTIONS,
    EXAMPLES_BEFORE_INPUTS,
    EXAMPLES_AFTER_INPUTS,
)
_HEADING = "| Column | Type | Meaning | Null |\n|---|---|---|---|\n"
_TABLE = re.compile(re.escape(_HEADING) + r"(?:\|.*\n)*")


def written(page: str) -> str:
    """Return the page with its tables of columns written anew; it must have one for each part."""
    tables = iter(_IN_ORDER)
    new = _TABLE.sub(lambda _: _HEADING + "".join(map(_row, next(tables))), page)
    assert next(tables, None) is None, "the page lacks a table"
    return new


def _row(column: Column) -> str:
    return f"| `{column.name}` | {column.type} | {column.meaning} | {column.null} |\n"


def main() -> None:
    """Write the page of the repository whose package this is."""
    path = Path(__file__).resolve().parents[2] / "results" / "README.md"
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
