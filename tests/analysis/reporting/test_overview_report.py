"""The report over all studies."""

import re

import pytest

from tests.analysis.made_studies import SHIPPED
from tune_distill.analysis.figures.overview import effects_figure, largest_effect
from tune_distill.analysis.reporting.markdown import render_markdown
from tune_distill.analysis.reporting.overview_report import key_findings, overview_page
from tune_distill.analysis.reporting.page import (
    Callout,
    ChartBlock,
    CodeBlock,
    Heading,
    Paragraph,
    TableBlock,
)
from tune_distill.analysis.verdict_json import summary_of


@pytest.fixture(scope="module")
def summaries(studies):
    return [summary_of(studies.verdict(name)) for name in SHIPPED]


@pytest.fixture(scope="module")
def page(summaries):
    return overview_page("results", summaries, {}, effects_figure(summaries))


def test_key_findings_come_first(page, summaries):
    first = page.blocks[0]
    assert isinstance(first, Callout)
    assert first.lines == ("Key findings", *key_findings(summaries))


def test_key_findings_say_what_matters_most_and_what_each_study_found(summaries):
    first, *others = key_findings(summaries)
    ranked = re.findall(r"(\w+) (\d\.\d{3})", first)
    assert [(name, float(gap)) for name, gap in ranked] == sorted(
        ((s["study"], round(largest_effect(s), 3)) for s in summaries), key=lambda pair: -pair[1]
    )
    assert len(others) == len(summaries)
    for line, summary in zip(others, summaries, strict=True):
        assert line.startswith(f"{summary['study']}: ")
        assert summary["verdict"] in line


def test_one_study_is_not_ranked(summaries):
    [line] = key_findings(summaries[:1])
    assert line.startswith("smoothing: ")


def test_every_study_has_a_link_a_row_and_a_section(page, summaries):
    names = [summary["study"] for summary in summaries]
    assert list(page.links) == [(name, f"{name}/report.html") for name in names]
    [table] = [b for b in page.blocks if isinstance(b, TableBlock)]
    assert [row[0].text for row in table.rows] == names
    assert [b.text for b in page.blocks if isinstance(b, Heading) and b.level == 3] == names
    told = [b.text for b in page.blocks if isinstance(b, Paragraph)]
    for summary in summaries:
        assert summary["question"] in told
        for finding in summary["findings"]:
            assert finding in told


def test_the_table_is_of_the_summaries(page, summaries):
    [table] = [b for b in page.blocks if isinstance(b, TableBlock)]
    names = [column.name for column in table.columns]
    for row, summary in zip(table.rows, summaries, strict=True):
        cells = dict(zip(names, row, strict=True))
        assert cells["outcome"].text == summary["outcome"]
        assert cells["seeds"].value == summary["num_seeds"] == 3
        assert cells["examples"].value == summary["num_examples"] == 120
        assert cells["smallest detectable"].value == summary["smallest_detectable"]
    baselines = {row[0].text: row[names.index("baseline")].text for row in table.rows}
    assert baselines["smoothing"] == "0.1"
    assert baselines["decoding"] == "greedy"
    assert "128" in baselines["sequence_length"]
    assert "64" in baselines["sequence_length"]


def test_trials_are_counted(page, summaries):
    planned = 3 * 3 + 3 * 4 + 3 * 3 + 3 * 6 + 3 * 6 + 3 * 6
    assert sum(sum(summary["trials"].values()) for summary in summaries) == planned
    assert page.subtitle == f"6 studies; trials: {planned - 7} complete, 4 pruned, 3 failed."


def test_the_figure_is_that_of_the_effects(page, summaries):
    [chart] = [b for b in page.blocks if isinstance(b, ChartBlock)]
    assert chart.figure == effects_figure(summaries)


def test_the_command_makes_the_same_again(page, summaries):
    [code] = [b.text for b in page.blocks if isinstance(b, CodeBlock)]
    assert code == "python -m tune_distill.report results"
    spaced = overview_page("my results", summaries, {}, None)
    [code] = [b.text for b in spaced.blocks if isinstance(b, CodeBlock)]
    assert code == "python -m tune_distill.report 'my results'"


def test_what_could_not_be_read_is_named(summaries):
    page = overview_page("results", summaries[:1], {"own": "own/study.yaml: gone"}, None)
    [_, warning] = [b for b in page.blocks if isinstance(b, Callout)]
    assert warning == Callout("warning", ("Not in this report", "own: own/study.yaml: gone"))
    assert page.subtitle.startswith("1 study; ")


def test_a_page_of_nothing_but_broken_studies_claims_nothing():
    page = overview_page("results", [], {"own": "own/study.yaml: gone"}, None)
    assert [b.kind for b in page.blocks if isinstance(b, Callout)] == ["warning"]
    assert not [b for b in page.blocks if isinstance(b, TableBlock)]
    assert "Key findings" not in render_markdown(page)


@pytest.mark.parametrize("name", ["all failed", "one setting", "null", "hard names", "one example"])
def test_studies_without_an_answer_are_told_too(studies, name):
    summary = summary_of(studies.verdict(name))
    page = overview_page("results", [summary], {}, effects_figure([summary]))
    [table] = [b for b in page.blocks if isinstance(b, TableBlock)]
    assert table.rows[0][2].text == summary["outcome"]
    assert summary["verdict"] in page.blocks[0].lines[1]
    assert render_markdown(page).startswith("# All studies")
