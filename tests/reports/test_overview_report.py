"""The report over all studies."""

import re

import pytest

from tests.analysis.made_studies import SHIPPED
from tune_distill.analysis.verdict_json import summary_of
from tune_distill.reports.figures.overview import effects_figure, largest_effect
from tune_distill.reports.markdown import render_markdown
from tune_distill.reports.overview_report import key_findings, overview_page
from tune_distill.reports.page import (
    Callout,
    ChartBlock,
    CodeBlock,
    Heading,
    Paragraph,
    TableBlock,
)


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
    assert first.startswith(
        "What matters most, by the largest detectable difference from the baseline in label "
    )
    largest = {s["study"]: largest_effect(s) for s in summaries}
    ranked = re.findall(r"(\w+) (\d\.\d{3})", first)
    assert [(name, float(effect)) for name, effect in ranked] == [
        (name, round(effect, 3))
        for name, effect in sorted(largest.items(), key=lambda pair: -pair[1])
        if effect
    ]
    assert [name for name, effect in largest.items() if not effect] == [
        "smoothing",
        "learning_rate",
    ]
    assert first.endswith(" None in it was detected in smoothing and learning_rate.")
    pruned, *others = others
    assert pruned == (
        "Pruned trials are not compared, and their differences may be larger: learning_rate."
    )
    assert len(others) == len(summaries)
    for line, summary in zip(others, summaries, strict=True):
        assert line.startswith(f"{summary['study']}: ")
        assert summary["verdict"] in line


def test_one_study_is_not_ranked(summaries):
    [line] = key_findings(summaries[:1])
    assert line.startswith("smoothing: ")


def unlike(summary, name, detectable):
    """Return the summary of another study, with all or none of its differences detectable."""
    compared = [one | {"detectable": detectable} for one in summary["comparisons"]]
    return summary | {"study": name, "comparisons": compared}


def test_studies_without_a_detectable_difference_are_named_and_not_ranked(summaries):
    one = summaries[0]
    seen, unseen = unlike(one, "a", True), [unlike(one, name, False) for name in "bcd"]
    first = key_findings([*unseen, seen])[0]
    assert first.endswith(
        f"label accuracy: a {largest_effect(seen):.3f}. None in it was detected in b, c and d."
    )
    assert key_findings([unseen[0], seen])[0].endswith(". None in it was detected in b.")
    assert "None" not in key_findings([seen, seen])[0]
    # The sentence says it already.
    assert key_findings(unseen)[0].endswith(" in label accuracy: nothing.")


def test_a_study_without_comparisons_is_neither_ranked_nor_named(summaries):
    one = summaries[0]
    empty = one | {"comparisons": [], "trials": {"complete": 0, "pruned": 9, "failed": 0}}
    lines = key_findings([one, empty])
    assert [line.split(":")[0] for line in lines] == ["smoothing"] * 2


def test_studies_with_pruned_trials_are_named(summaries):
    one = summaries[0]
    pruned = [
        one | {"study": name, "trials": one["trials"] | {"pruned": count}}
        for name, count in (("a", 1), ("b", 0), ("c", 2))
    ]
    assert key_findings(pruned)[1].endswith(" may be larger: a and c.")


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
    [place] = [n for n, block in enumerate(page.blocks) if isinstance(block, ChartBlock)]
    heading, chart = page.blocks[place - 1 : place + 1]
    assert heading == Heading("Effects side by side")
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
