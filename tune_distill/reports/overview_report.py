"""The report over all studies: the largest effects, and what each study found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tune_distill.analysis.results import short_name
from tune_distill.reports.drawing.panels import Figure
from tune_distill.reports.figures.overview import EFFECT_METRIC, effects, largest_effect
from tune_distill.reports.page import (
    Block,
    Callout,
    Cell,
    ChartBlock,
    CodeBlock,
    Heading,
    Page,
    PageColumn,
    Paragraph,
    TableBlock,
)
from tune_distill.spec.metrics import METRICS

Summary = Mapping[str, Any]


def overview_page(
    results: str, summaries: Sequence[Summary], unread: Mapping[str, str], figure: Figure | None
) -> Page:
    """Return the report on the studies in `results`; `unread` maps other folders to the reasons."""
    counts = {
        state: sum(summary["trials"][state] for summary in summaries)
        for state in ("complete", "pruned", "failed")
    }
    ended = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    blocks: list[Block] = []
    if summaries:
        blocks.append(Callout("clear", ("Key findings", *key_findings(summaries))))
    if unread:
        reasons = [f"{name}: {reason}" for name, reason in unread.items()]
        blocks.append(Callout("warning", ("Not in this report", *reasons)))
    if figure is not None:
        blocks += [Heading("Effects side by side"), ChartBlock(figure)]
    if summaries:
        blocks += [Heading("Verdicts"), _verdicts(summaries)]
    for summary in summaries:
        blocks += [Heading(summary["study"], 3), Paragraph(summary["question"])]
        told = (summary["evidence"], *summary["findings"], *summary["notes"])
        blocks += [Paragraph(text) for text in told]
    blocks += [
        Heading("How to reproduce it"),
        Paragraph(
            "Everything here is in the studies' summary.json; each study's own report says "
            "how its numbers are made."
        ),
        CodeBlock(f"python -m tune_distill.report {shlex.quote(results)}"),
    ]
    links = [(summary["study"], f"{summary['study']}/report.html") for summary in summaries]
    size = "1 study" if len(summaries) == 1 else f"{len(summaries)} studies"
    return Page("All studies", f"{size}; trials: {ended}.", tuple(blocks), tuple(links))


def key_findings(summaries: Sequence[Summary]) -> list[str]:
    """Return the key findings: the studies by their largest effect, and a line for each study."""
    found = []
    compared = [summary for summary in summaries if effects(summary)]
    ranked = sorted(compared, key=largest_effect, reverse=True)
    shown = [f"{s['study']} {largest_effect(s):.3f}" for s in ranked if largest_effect(s)]
    unseen = [s["study"] for s in ranked if not largest_effect(s)]
    if len(compared) > 1:
        found.append(
            "What matters most, by the largest detectable difference from the baseline in "
            f"{METRICS[EFFECT_METRIC].label}: {', '.join(shown) or 'nothing'}."
            f"{f' None in it was detected in {_and(unseen)}.' if shown and unseen else ''}"
        )
    censored = [s["study"] for s in compared if s["trials"]["pruned"]]
    if censored:
        found.append(
            "Pruned trials are not compared, and their differences may be larger: "
            f"{_and(censored)}."
        )
    found += [
        f"{summary['study']}: {summary['verdict']} {summary['recommendation']}"
        for summary in summaries
    ]
    return found


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _verdicts(summaries: Sequence[Summary]) -> TableBlock:
    columns = (
        PageColumn("study"),
        PageColumn("metric"),
        PageColumn("outcome"),
        PageColumn("baseline"),
        PageColumn("best"),
        PageColumn("recommended"),
        PageColumn("smallest detectable", numeric=True),
        PageColumn("seeds", numeric=True),
        PageColumn("examples", numeric=True),
    )
    rows = []
    for summary in summaries:
        smallest = summary["smallest_detectable"]
        rows.append(
            (
                Cell(summary["study"]),
                Cell(METRICS[summary["metric"]].label),
                Cell(summary["outcome"]),
                *(_setting(summary[name]) for name in ("baseline", "best", "recommended")),
                Cell("") if smallest is None else Cell(f"{smallest:.3f}", smallest),
                Cell(str(summary["num_seeds"]), summary["num_seeds"]),
                Cell(f"{summary['num_examples']:,}", summary["num_examples"]),
            )
        )
    return TableBlock("", columns, tuple(rows))


def _setting(values: dict[str, Any] | None) -> Cell:
    return Cell("") if values is None else Cell(short_name(values))
