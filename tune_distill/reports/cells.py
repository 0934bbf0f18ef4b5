"""Cells of a report's tables."""

from __future__ import annotations

import pandas as pd

from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict import Verdict
from tune_distill.reports.page import Cell


def numeric(verdict: Verdict, column: str) -> bool:
    """Return whether the column has a number in all settings, so that it is aligned right."""
    return all(isinstance(point[column], int | float) for point in verdict.results.settings)


def value_cell(value: object) -> Cell:
    """Return the cell of a setting's value."""
    if isinstance(value, int | float):
        return Cell(setting_text(value), value)
    return Cell("none" if value is None else str(value))


def real_cell(value: float | None, form: str) -> Cell:
    """Return the cell of a number in this format, sorted by its value; empty if it is missing."""
    if value is None or pd.isna(value):
        return Cell("")
    return Cell(format(value, form), float(value))
