"""Writing reports beside their tables, unless they are up to date."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tune_distill.analysis.results import read_results
from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.verdict_json import Summary, summary_of
from tune_distill.records.files import write_text
from tune_distill.records.leftovers import remove_abandoned
from tune_distill.records.names import require_no_link
from tune_distill.records.refusals import explained
from tune_distill.reports.drawing.pictures import save
from tune_distill.reports.figures.overview import effects_figure
from tune_distill.reports.figures.study import study_figures
from tune_distill.reports.manifest import is_whole, write_manifest
from tune_distill.reports.markdown import render_markdown
from tune_distill.reports.overview_report import key_findings, overview_page
from tune_distill.reports.page import render_page
from tune_distill.reports.study_report import study_page
from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.keys import canonical_json
from tune_distill.spec.yaml_files import STUDY_ORDER

REPORT_VERSION = 3
"""Raise it when statistics, figures or the report change, so that reports are made again."""

_MADE = ("report.html", "report.md", "summary.json")
"""Files of every report; figures are beside them."""

_FILES = (
    "study.yaml",
    "task.yaml",
    "environment.json",
    "examples.parquet",
    "history.parquet",
    "predictions.parquet",
)
_CHUNK = 1 << 20


def report_study(folder: Path) -> Summary:
    """Bring the study's summary.json, report.html, report.md and figures up to date.

    Returns the summary. Leftovers of killed writers in the folder are removed.

    Raises:
        StoreError: the folder does not hold a study's results.
    """
    require_no_link(folder / "figures")
    _remove_leftovers(folder)
    made_from = _digest(folder)
    summary = _up_to_date(folder, made_from)
    if summary is not None:
        return summary
    judged = judge(read_results(folder))
    figures = study_figures(judged)
    _clear(folder / "figures", {figure.name for figure in figures})
    save(figures, folder / "figures")
    page = study_page(judged, figures)
    write_text(folder / "report.html", render_page(page))
    write_text(folder / "report.md", render_markdown(page))
    summary = summary_of(judged) | {"made_from": made_from}
    _write_summary(folder, summary)
    _finish(folder, made_from)
    return summary


def verdict(study: str, *, results: str | Path = "results") -> Summary:
    """Return what the statistics say of a study, as results/README.md documents summary.json.

    `verdict("smoothing")["recommendation"]` is a sentence, and
    `pd.DataFrame(verdict("smoothing")["comparisons"])` is a table of paired differences. They are
    read from summary.json if it was made from these tables, and computed from the tables otherwise.

    Raises:
        StoreError: there are no such results.
    """
    folder = Path(results) / study
    made_from = _digest(folder)
    return _up_to_date(folder, made_from) or summary_of(judge(read_results(folder))) | {
        "made_from": made_from
    }


def report_results(results: Path) -> tuple[list[Summary], dict[str, str]]:
    """Bring all studies' reports and the report over all of them up to date.

    Returns the summaries, with the names of their folders, and the reasons why other folders could
    not be read. Nothing is written if there are no folders with results.
    """
    summaries: list[Summary] = []
    unread: dict[str, str] = {}
    for path in sorted(results.glob("*/trials.parquet"), key=_rank):
        folder = path.parent
        try:
            require_no_link(folder)
            # A copied folder holds a study of the same name, so use the folder's name.
            summaries.append(report_study(folder) | {"study": folder.name})
        except TuneDistillError as error:
            unread[folder.name] = str(error)
    if summaries or unread:
        _report_overview(results, summaries, unread)
    return summaries, unread


def _report_overview(
    results: Path, summaries: Sequence[Summary], unread: Mapping[str, str]
) -> None:
    """Bring the report over all of these studies up to date."""
    require_no_link(results / "figures")
    _remove_leftovers(results)
    # The reasons must not depend on the folder's location.
    reasons = {
        name: why.replace(f"{results}{os.sep}", "").replace(str(results), results.name)
        for name, why in unread.items()
    }
    made = [[summary["study"], summary["made_from"]] for summary in summaries]
    parts = [REPORT_VERSION, results.name, reasons, made]
    made_from = hashlib.sha256(canonical_json(parts).encode()).hexdigest()
    if _up_to_date(results, made_from) is not None:
        return
    figure = effects_figure(summaries)
    _clear(results / "figures", {figure.name} if figure else set())
    if figure is not None:
        save([figure], results / "figures")
    page = overview_page(results.name, summaries, reasons, figure)
    write_text(results / "report.html", render_page(page))
    write_text(results / "report.md", render_markdown(page))
    findings = {"key_findings": key_findings(summaries), "made_from": made_from}
    _write_summary(results, findings)
    _finish(results, made_from)


def _rank(path: Path) -> tuple[int, str]:
    """Return the sort key of studies: shipped ones in the order of `all`, then the others."""
    name = path.parent.name
    return (STUDY_ORDER.index(name) if name in STUDY_ORDER else len(STUDY_ORDER), name)


def _digest(folder: Path) -> str:
    """Return the SHA-256 of everything that the report depends on."""
    # The commands in a report contain the folder's name.
    named = canonical_json([REPORT_VERSION, folder.name])
    found = hashlib.sha256(named.encode())
    # Whether a run was reused or retried does not change its numbers.
    trials = load(folder.name, results=folder.parent)
    trials = trials.drop(columns=["reused", "num_retries"], errors="ignore")
    found.update(trials.to_json(orient="split", double_precision=15).encode())
    for name in _FILES:
        path = folder / name
        found.update(name.encode())
        if path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
    return found.hexdigest()


def _up_to_date(folder: Path, made_from: str) -> Summary | None:
    """Return the summary on disk if the whole report exists, is intact and was made from this."""
    if not is_whole(folder, made_from, _MADE):
        return None
    summary: Summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def _finish(folder: Path, made_from: str) -> None:
    """Write the manifest of a report after all of its files."""
    pictures = [f"figures/{path.name}" for path in _pictures(folder / "figures")]
    write_manifest(folder, made_from, [*_MADE, *pictures])


def _remove_leftovers(folder: Path) -> None:
    for place in (folder, folder / "figures"):
        remove_abandoned(place)


def _write_summary(folder: Path, summary: Summary) -> None:
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(folder / "summary.json", text + "\n")


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove the figures of an earlier report that this one does not make."""
    for path in _pictures(folder):
        if path.stem not in kept:
            with explained(path):
                path.unlink()


def _pictures(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in (".png", ".svg")]
