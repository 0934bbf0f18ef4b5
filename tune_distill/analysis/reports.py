"""Reports are files beside the tables they tell of; one that would not change is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_distill.analysis.figures.overview import effects_figure
from tune_distill.analysis.figures.study import study_figures
from tune_distill.analysis.results import read_results
from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.verdict_json import Summary, summary_of
from tune_distill.records.files import write_text
from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.keys import canonical_json
from tune_distill.spec.yaml_files import STUDY_ORDER

REPORT_VERSION = 1
"""Raise it when statistics, figures or report change: reports are then made again."""

_TABLES = ("study.yaml", "examples.parquet", "history.parquet", "predictions.parquet")
_CHUNK = 1 << 20


def report_study(folder: Path) -> Summary:
    """The study's summary.json, report.html, report.md and figures are up to date; the summary.

    Raises:
        StoreError: the folder does not hold a study's results.
    """
    made_from = _digest(folder)
    summary = _up_to_date(folder, made_from)
    if summary is not None:
        return summary
    # Drawing costs a second of imports, which a report that is up to date need not pay.
    from tune_distill.analysis.draw import save
    from tune_distill.analysis.markdown import render_markdown
    from tune_distill.analysis.page import render_page
    from tune_distill.analysis.study_report import study_page

    judged = judge(read_results(folder))
    figures = study_figures(judged)
    _clear(folder / "figures", {figure.name for figure in figures})
    for figure in figures:
        save(figure, folder / "figures")
    page = study_page(judged, figures)
    write_text(folder / "report.html", render_page(page))
    write_text(folder / "report.md", render_markdown(page))
    summary = summary_of(judged) | {"made_from": made_from}
    # Last: what it was made from says that all of the report is.
    _write_summary(folder, summary)
    return summary


def verdict(study: str, *, results: str | Path = "results") -> Summary:
    """What the statistics say of a study, as results/README.md documents summary.json.

    `verdict("smoothing")["recommendation"]` is a sentence, and
    `pd.DataFrame(verdict("smoothing")["comparisons"])` a table of paired differences. Read from
    summary.json where that is of these very tables, and computed from them otherwise.

    Raises:
        StoreError: there are no such results.
    """
    folder = Path(results) / study
    made_from = _digest(folder)
    return _up_to_date(folder, made_from) or summary_of(judge(read_results(folder))) | {
        "made_from": made_from
    }


def report_overview(results: Path, unread: Mapping[str, str]) -> None:
    """report.html, report.md and summary.json tell of every study that has a summary."""
    from tune_distill.analysis.draw import save
    from tune_distill.analysis.markdown import render_markdown
    from tune_distill.analysis.overview_report import key_findings, overview_page
    from tune_distill.analysis.page import render_page

    summaries = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(results.glob("*/summary.json"), key=_rank)
        if path.parent.name not in unread
    ]
    parts = [REPORT_VERSION, dict(unread), [summary["made_from"] for summary in summaries]]
    made_from = hashlib.sha256(canonical_json(parts).encode()).hexdigest()
    if _up_to_date(results, made_from) is not None:
        return
    figure = effects_figure(summaries)
    if figure is not None:
        save(figure, results / "figures")
    page = overview_page(results.name, summaries, unread, figure)
    write_text(results / "report.html", render_page(page))
    write_text(results / "report.md", render_markdown(page))
    findings = {"key_findings": key_findings(summaries), "made_from": made_from}
    _write_summary(results, findings)


def report_results(results: Path) -> tuple[list[Summary], dict[str, str]]:
    """Every study's report, and the one over all; summaries, and why folders could not be read."""
    summaries, unread = [], {}
    for path in sorted(results.glob("*/trials.parquet"), key=_rank):
        try:
            summaries.append(report_study(path.parent))
        except TuneDistillError as error:
            unread[path.parent.name] = str(error)
    report_overview(results, unread)
    return summaries, unread


def _rank(path: Path) -> tuple[int, str]:
    """The order of studies: the shipped ones as `all` runs them, then the others."""
    name = path.parent.name
    return (STUDY_ORDER.index(name) if name in STUDY_ORDER else len(STUDY_ORDER), name)


def _digest(folder: Path) -> str:
    """SHA-256 of everything that the report depends on."""
    found = hashlib.sha256(f"report {REPORT_VERSION}".encode())
    # Whether a run was in the store already says nothing of its numbers.
    trials = load(folder.name, results=folder.parent).drop(columns="reused")
    found.update(trials.to_json(orient="split", double_precision=15).encode())
    for name in _TABLES:
        path = folder / name
        found.update(name.encode())
        if path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
    return found.hexdigest()


def _up_to_date(folder: Path, made_from: str) -> Summary | None:
    """The summary on disk, where it and the report are of these very tables."""
    path = folder / "summary.json"
    if not (path.is_file() and (folder / "report.html").is_file()):
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return summary if summary.get("made_from") == made_from else None


def _write_summary(folder: Path, summary: Summary) -> None:
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(folder / "summary.json", text + "\n")


def _clear(folder: Path, kept: set[str]) -> None:
    """No figure of an earlier report is left that this one does not make."""
    for path in folder.glob("*"):
        if path.suffix in (".png", ".svg") and path.stem not in kept:
            path.unlink()
