"""A study's report as blocks: question, verdict, numbers, figures, examples and cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tune_distill.analysis.remarks import findings, notes
from tune_distill.analysis.results import in_words, short_name
from tune_distill.analysis.statistics.comparison import Comparison
from tune_distill.analysis.statistics.estimates import Estimate
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import (
    evidence_sentence,
    profile_text,
    recommendation,
    verdict_sentence,
)
from tune_distill.reports.answers import example_blocks
from tune_distill.reports.cells import numeric, real_cell, value_cell
from tune_distill.reports.drawing.panels import Figure
from tune_distill.reports.page import (
    Block,
    Callout,
    Cell,
    ChartBlock,
    Heading,
    Page,
    PageColumn,
    Paragraph,
    TableBlock,
)
from tune_distill.reports.provenance import cost_blocks, reproduction_blocks
from tune_distill.spec.metrics import JUDGED, METRICS
from tune_distill.tasks.task import metrics_of

_OPEN = ("no difference detected", "cannot tell")


def study_page(verdict: Verdict, figures: Sequence[Figure]) -> Page:
    """Return the report of one study."""
    results = verdict.results
    blocks: list[Block] = [
        Callout(
            "open" if verdict.outcome in _OPEN else "clear",
            (
                verdict_sentence(verdict),
                evidence_sentence(verdict),
                f"Recommended: {recommendation(verdict)}",
            ),
        )
    ]
    blocks += [Paragraph(text) for text in findings(verdict)]
    if limits := notes(verdict):
        blocks.append(Callout("warning", ("To bear in mind", *limits)))
    blocks += _settings(verdict)
    blocks += _comparisons(verdict)
    if figures:
        blocks += [Heading("Figures"), *(ChartBlock(figure) for figure in figures)]
    blocks += example_blocks(verdict)
    blocks += _unfinished(verdict)
    blocks += cost_blocks(verdict)
    blocks += _other_metrics(verdict)
    blocks += reproduction_blocks(verdict)
    subtitle = f"{results.study.question} {profile_text(results.profile)}"
    links = [
        ("trials.csv", "trials.csv"),
        ("summary.json", "summary.json"),
        ("study.yaml", "study.yaml"),
        ("all studies", "../report.html"),
    ]
    return Page(results.name, subtitle, tuple(blocks), tuple(links))


def _settings(verdict: Verdict) -> Iterator[Block]:
    results, found = verdict.results, verdict.found
    metrics = [name for name in JUDGED if name in found.levels]
    columns = [PageColumn(in_words(name), numeric(verdict, name)) for name in results.columns]
    columns += [PageColumn("trials", numeric=True)]
    columns += [PageColumn(METRICS[name].label, numeric=True) for name in metrics]
    columns += [PageColumn("seconds a trial", numeric=True)]
    rows = []
    for setting, point in enumerate(results.settings):
        cells = [value_cell(point[name]) for name in results.columns]
        cells.append(_trials(verdict, setting))
        for metric in metrics:
            level = found.level(metric, setting)
            cells.append(Cell("") if level is None else _level(level))
        cost = verdict.costs.get(setting)
        cells.append(Cell("") if cost is None else Cell(f"{cost:.1f}", cost))
        rows.append(tuple(cells))
    yield Heading("Settings")
    yield TableBlock(
        "Means over seeds and validation examples, with half the width of their 95 % intervals; "
        "trials: complete of all.",
        tuple(columns),
        tuple(rows),
    )
    task = verdict.results.task
    meant = metrics_of(task)
    if without := [metric.label for name, metric in METRICS.items() if name not in meant]:
        yield Paragraph(f"Without {', '.join(without)}: the task {task.name} has no fixed labels.")
    lacking = [METRICS[name].label for name in JUDGED if name in meant and name not in metrics]
    if lacking and metrics:
        yield Paragraph(
            f"Without {', '.join(lacking)}: predictions.parquet has no such number of an example."
        )


def _comparisons(verdict: Verdict) -> Iterator[Block]:
    found = verdict.found
    main = [*verdict.primary, *found.with_best]
    if not main:
        return
    yield Heading("Comparisons")
    yield _comparison_table(
        verdict,
        main,
        f"Differences in {METRICS[verdict.metric].label} ({METRICS[verdict.metric].unit}) with "
        f"95 % intervals. p: {' and '.join(sorted({one.test for one in main}))}; adjusted by "
        "Holm's correction, over all comparisons with the same reference. Could detect: the "
        "difference that is found in four of five such studies. To settle: what shows the "
        "difference in four of five, if it is as large as it looks.",
    )


def _other_metrics(verdict: Verdict) -> Iterator[Block]:
    others = [one for one in verdict.found.with_baseline if one.metric != verdict.metric]
    if others:
        yield Heading("Differences in the other metrics")
        yield _comparison_table(
            verdict,
            others,
            "Against the baseline; Holm's correction over all comparisons of this table.",
        )


def _comparison_table(
    verdict: Verdict, comparisons: Sequence[Comparison], caption: str
) -> TableBlock:
    results = verdict.results
    several = len({one.metric for one in comparisons}) > 1
    names = ("difference", "95 % interval", "p", "adjusted p", "detectable")
    more: tuple[str, ...] = ("could detect", "examples to settle", "seeds to settle")
    numeric = {"difference", "p", "adjusted p", *more}
    exact = max(len(one.mcnemar) for one in comparisons) > 1
    if exact:
        more = (*more, "exact McNemar of each seed")
    setting = ", ".join(in_words(name) for name in results.columns)
    first = (setting, "against", *(("metric",) if several else ()))
    columns = [PageColumn(name, name in numeric) for name in (*first, *names, *more)]
    rows = []
    for one in comparisons:
        ours = one.estimate
        examples = None if one.detectable else one.examples_needed
        seeds = None if one.detectable else one.seeds_needed
        rows.append(
            (
                Cell(short_name(results.settings[one.setting])),
                Cell(short_name(results.settings[one.reference])),
                *((Cell(METRICS[one.metric].label),) if several else ()),
                Cell(f"{ours.value:+.3f}", ours.value),
                Cell(f"[{ours.low:+.3f}, {ours.high:+.3f}]", ours.low),
                _p_value(one.p_value),
                _p_value(one.p_adjusted),
                Cell(_direction(one)),
                Cell(f"{one.smallest_detectable:.3f}", one.smallest_detectable),
                Cell("") if examples is None else Cell(f"{examples:,}", examples),
                Cell("") if seeds is None else Cell(f"{seeds:,}", seeds),
                *((Cell(", ".join(map(_p_text, one.mcnemar))),) if exact else ()),
            )
        )
    return TableBlock(caption, tuple(columns), tuple(rows))


def _direction(one: Comparison) -> str:
    if not one.detectable:
        return "no"
    return "better" if one.gain > 0 else "worse"


def _level(level: Estimate) -> Cell:
    return Cell(f"{level.value:.3f} ± {(level.high - level.low) / 2:.3f}", level.value)


def _p_value(value: float) -> Cell:
    return Cell(_p_text(value), value)


def _p_text(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _unfinished(verdict: Verdict) -> Iterator[Block]:
    """Yield the failed and pruned trials, and the reasons."""
    trials = verdict.results.trials
    others = trials[trials["state"] != "complete"]
    if others.empty:
        return
    behind = {(one.setting, one.seed): one.behind for one in verdict.censored}
    columns = (
        PageColumn("trial"),
        PageColumn("state"),
        PageColumn("steps", numeric=True),
        PageColumn("evaluation loss", numeric=True),
        PageColumn("behind the best at that step", numeric=True),
        PageColumn("reason"),
    )
    rows = []
    for row in others.to_dict("records"):
        lag = behind.get((row["setting"], row["seed"]))
        rows.append(
            (
                Cell(row["trial_id"]),
                Cell(row["state"]),
                real_cell(row["num_steps"], ",.0f"),
                real_cell(row["eval_loss"], ".3f"),
                real_cell(lag, "+.3f"),
                Cell(row["error"] if isinstance(row["error"], str) else ""),
            )
        )
    yield Heading("Trials without an end")
    yield TableBlock(
        "A pruned trial's loss is that of its last evaluation; what it would have reached is not "
        "known."
        if (others["state"] == "pruned").any()
        else "",
        columns,
        tuple(rows),
    )


def _trials(verdict: Verdict, setting: int) -> Cell:
    states = verdict.results.trials.loc[verdict.results.trials["setting"] == setting, "state"]
    complete = int((states == "complete").sum())
    return Cell(f"{complete} of {len(states)}", complete)
