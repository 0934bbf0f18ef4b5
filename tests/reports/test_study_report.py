"""The content of a study's report, block by block."""

import json
import re
from itertools import pairwise

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.analysis.made_studies import HARD_NAMES, PLANTS, SHIPPED
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.wording import three_lines
from tune_distill.reports.figures.study import study_figures
from tune_distill.reports.markdown import render_markdown
from tune_distill.reports.page import (
    Callout,
    ChartBlock,
    CodeBlock,
    ExampleBlock,
    Heading,
    Paragraph,
    TableBlock,
    render_page,
)
from tune_distill.reports.study_report import study_page
from tune_distill.spec.errors import StoreError


def page_of(studies, name):
    if name not in studies.pages:
        studies.pages[name] = study_page(studies.verdict(name), studies.figures(name))
    return studies.pages[name]


def again(folder):
    """Return the report of a folder that a test has changed."""
    verdict = judge(read_results(folder))
    return study_page(verdict, study_figures(verdict))


def section(page, title):
    """Return the blocks below a heading, up to the next heading of its level or above."""
    start = next(
        i
        for i, block in enumerate(page.blocks)
        if isinstance(block, Heading) and block.text == title
    )
    rest = page.blocks[start + 1 :]
    level = page.blocks[start].level
    ends = [i for i, b in enumerate(rest) if isinstance(b, Heading) and b.level <= level]
    return rest[: ends[0]] if ends else rest


def headings(page, level=2):
    return [b.text for b in page.blocks if isinstance(b, Heading) and b.level == level]


def table(page, title):
    """Return the rows of a section's only table, as dicts of the cells' texts."""
    [block] = [b for b in section(page, title) if isinstance(b, TableBlock)]
    names = [column.name for column in block.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, (cell.text for cell in row), strict=True)) for row in block.rows]


def values(page, title, column):
    """Return the values by which a column of a section's table is sorted."""
    [block] = [b for b in section(page, title) if isinstance(b, TableBlock)]
    place = [one.name for one in block.columns].index(column)
    return [row[place].value for row in block.rows]


def texts(page):
    return [b.text for b in page.blocks if isinstance(b, Paragraph)]


@pytest.mark.parametrize("name", PLANTS)
def test_every_study_has_a_page_whose_tables_are_whole(studies, name):
    page = page_of(studies, name)
    for block in page.blocks:
        if isinstance(block, TableBlock):
            assert {len(row) for row in block.rows} <= {len(block.columns)}
            for row in block.rows:
                for column, cell in zip(block.columns, row, strict=True):
                    assert column.numeric or cell.value is None or isinstance(cell.text, str)
                    assert not re.search(r"\bnan\b(?! at step)", cell.text), cell
    kinds = [type(block) for block in page.blocks]
    # No heading is empty.
    assert not any(
        kind is Heading and following is Heading and page.blocks[place].level == 2
        for place, (kind, following) in enumerate(pairwise(kinds))
    )
    assert "Settings" in headings(page)
    assert "Cost" in headings(page)


def test_the_answer_comes_first(studies):
    for name in SHIPPED:
        verdict = studies.verdict(name)
        page = page_of(studies, name)
        first = page.blocks[0]
        assert isinstance(first, Callout)
        told = [line.split(": ", 1)[1] for line in three_lines(verdict)]
        assert [line.removeprefix("Recommended: ") for line in first.lines] == told
        assert page.title == name
        assert verdict.results.study.question in page.subtitle


def test_an_open_question_is_not_shown_as_an_answer(studies):
    kinds = {n: page_of(studies, n).blocks[0].kind for n in ("all failed", "own baseline")}
    assert kinds == {"all failed": "open", "own baseline": "clear"}


def test_settings_are_means_of_the_trials(studies):
    for name in ("smoothing", "temperature", "sequence_length"):
        verdict = studies.verdict(name)
        page, columns = page_of(studies, name), verdict.results.columns
        complete = verdict.results.complete
        means = complete.groupby(columns, sort=False)[
            ["label_accuracy", "rougeL", "eval_loss"]
        ].mean()
        for shown, column in (
            ("label accuracy", "label_accuracy"),
            ("ROUGE-L", "rougeL"),
            ("evaluation loss", "eval_loss"),
        ):
            assert values(page, "Settings", shown) == pytest.approx(list(means[column]))
        rows = table(page, "Settings")
        assert [row["trials"] for row in rows] == ["3 of 3"] * len(rows)


def test_comparisons_are_those_of_the_verdict(studies):
    verdict = studies.verdict("learning_rate")
    page = page_of(studies, "learning_rate")
    found = [*verdict.primary, *verdict.found.with_best]
    assert values(page, "Comparisons", "difference") == [one.estimate.value for one in found]
    assert values(page, "Comparisons", "adjusted p") == [one.p_adjusted for one in found]
    words = {True: {1: "better", -1: "worse"}, False: {1: "no", -1: "no"}}
    assert [row["detectable"] for row in table(page, "Comparisons")] == [
        words[one.detectable][1 if one.gain > 0 else -1] for one in found
    ]
    others = [one for one in verdict.found.with_baseline if one.metric != "eval_loss"]
    assert len(table(page, "Differences in the other metrics")) == len(others) > 0


def test_every_figure_is_shown_once(studies):
    figures = studies.figures("decoding")
    assert [b.figure for b in section(page_of(studies, "decoding"), "Figures")] == figures
    assert not [b for b in page_of(studies, "all failed").blocks if isinstance(b, ChartBlock)]
    assert "Figures" not in headings(page_of(studies, "all failed"))


def examples_of(page, kind):
    """Return the number of answers of this kind, the number of all, and the examples shown."""
    [title] = [text for text in headings(page, 3) if text.startswith(f"{kind}:")]
    count, total = map(int, re.findall(r"\d+", title))
    return count, total, [b for b in section(page, title) if isinstance(b, ExampleBlock)]


@pytest.mark.parametrize("name", ["smoothing", "temperature", "learning_rate"])
def test_examples_are_answers_of_the_best_setting(studies, name):
    verdict = studies.verdict(name)
    page, results = page_of(studies, name), verdict.results
    answers = pd.read_parquet(results.folder / "predictions.parquet")
    texts = pd.read_parquet(results.folder / "examples.parquet").set_index("example_id")
    [column] = results.columns
    trial = results.complete[
        (results.complete[column] == results.settings[verdict.best][column])
        & (results.complete["seed"] == 0)
    ]["trial_id"].item()
    own = answers[(answers["trial_id"] == trial) & (answers["sample"] == 0)].set_index("example_id")
    expected = {
        "Right": own[own["correct"] & own["faithful"]],
        "Wrong": own[~own["correct"]],
        "Unfaithful": own[~own["faithful"] & own["predicted_label"].notna()],
    }
    for kind, chosen in expected.items():
        count, total, shown = examples_of(page, kind)
        assert (count, total) == (len(chosen), len(own))
        assert [block.title for block in shown] == list(chosen.index[:3])
        for block in shown:
            answer = chosen.loc[block.title]
            assert dict(block.fields) == {
                "premise": texts.loc[block.title, "premise"],
                "hypothesis": texts.loc[block.title, "hypothesis"],
                "gold label": answer["gold_label"],
                "answer": answer["prediction"],
            }
            assert block.tags == (
                "right" if answer["correct"] else "wrong",
                "faithful" if answer["faithful"] else "unfaithful",
                f"ROUGE-L {answer['rougeL']:.2f}",
            )


def test_a_folder_of_before_has_a_report_that_says_what_it_lacks(studies, tmp_path):
    folder = studies.copy("one seed", tmp_path)
    (folder / "examples.parquet").unlink()
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop(["eval_loss", "num_target_tokens"]), path)
    page = again(folder)
    assert any("no examples.parquet" in text for text in texts(page))
    assert (
        "Without evaluation loss: predictions.parquet has no such number of an example."
        in texts(page)
    )
    assert "evaluation loss" not in table(page, "Settings")[0]
    _, _, shown = examples_of(page, "Right")
    assert [name for name, _ in shown[0].fields] == ["gold label", "answer"]
    whole = page_of(studies, "one seed")
    assert not any("Without" in text or "not known" in text for text in texts(whole))


def test_a_study_judged_by_what_it_lacks_cannot_tell(studies, tmp_path):
    folder = studies.copy("by loss", tmp_path)
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop(["eval_loss", "num_target_tokens"]), path)
    page = again(folder)
    assert page.blocks[0].kind == "open"
    assert (
        page.blocks[0].lines[0].startswith("Cannot tell: the predictions have no evaluation loss")
    )
    assert "Comparisons" not in headings(page)


def test_trials_without_an_end_are_listed_with_their_reasons(studies):
    verdict = studies.verdict("learning_rate")
    page = page_of(studies, "learning_rate")
    trials = verdict.results.trials
    others = trials[trials["state"] != "complete"]
    rows = table(page, "Trials without an end")
    assert [row["trial"] for row in rows] == list(others["trial_id"])
    assert [row["state"] for row in rows] == list(others["state"])
    assert [row["reason"] for row in rows] == list(others["error"].fillna(""))
    assert [row["steps"] for row in rows] == ["20"] * 4 + [""] * 3
    shown = values(page, "Trials without an end", "evaluation loss")
    assert shown[:4] == list(others["eval_loss"][:4])
    lag = values(page, "Trials without an end", "behind the best at that step")
    assert lag[:4] == [pytest.approx(one.behind) for one in verdict.censored]
    assert "Trials without an end" not in headings(page_of(studies, "smoothing"))


@pytest.mark.parametrize("name", ["smoothing", "decoding", "learning_rate", "temperature"])
def test_costs_are_sums_of_the_trials(studies, name):
    verdict = studies.verdict(name)
    page, [column] = page_of(studies, name), verdict.results.columns
    trials = pd.read_parquet(verdict.results.folder / "trials.parquet")
    groups = trials.groupby(column, sort=False)
    assert values(page, "Cost", "decoding s") == pytest.approx(list(groups["decode_time_s"].sum()))
    trained = trials.drop_duplicates([column, "run_key"]).groupby(column, sort=False)
    expected = list(trained["training_time_s"].sum())
    assert values(page, "Cost", "training s") == pytest.approx(expected)
    runs = trials.drop_duplicates("run_key")
    total = runs["training_time_s"].sum() + trials["decode_time_s"].sum()
    [block] = [b for b in section(page, "Cost") if isinstance(b, TableBlock)]
    assert f"{len(trials)} trials of {len(runs)} runs: {total:,.1f} s" in block.caption
    if name == "decoding":
        assert (len(trials), len(runs)) == (18, 3)


def test_texts_are_shown_as_they_are(studies, tmp_path):
    evil = '<img src=x onerror="alert(1)"> | **bold** [link](http://a.b) `code` </script>'
    folder = studies.copy("one seed", tmp_path)
    answers = pd.read_parquet(folder / "predictions.parquet")
    answers.assign(prediction=evil, explanation=evil).to_parquet(folder / "predictions.parquet")
    examples = pd.read_parquet(folder / "examples.parquet")
    examples.assign(premise=evil, hypothesis="# no heading").to_parquet(folder / "examples.parquet")
    page = again(folder)
    _, _, shown = examples_of(page, "Right")
    assert dict(shown[0].fields)["answer"] == evil
    html = render_page(page)
    assert evil not in html
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;" in html
    text = render_markdown(page)
    assert "<img" not in text
    assert "**bold**" not in text
    assert "\\[link\\](http" in text
    assert not re.search(r"^# no heading", text, re.MULTILINE)


def test_names_are_shown_as_they_are(studies):
    page = page_of(studies, "hard names")
    assert [row["kind"] for row in table(page, "Settings")] == list(HARD_NAMES)
    html = render_page(page)
    body = html[: html.index("<script")]
    assert "</script><b>" not in html
    assert "&lt;/script&gt;&lt;b&gt;&amp;amp;" in body
    lines = [line for line in render_markdown(page).splitlines() if line.startswith("|")]
    # An escaped bar does not end a cell.
    cells = {line: len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    settings = [count for line, count in cells.items() if "3 of 3" in line]
    assert len(settings) == len(HARD_NAMES)
    assert len(set(settings)) == 1


def test_commands_and_code_are_of_this_folder(studies, tmp_path):
    folder = studies.copy("one seed", tmp_path)
    renamed = folder.rename(folder.parent / "smoothing-before")
    page = again(renamed)
    commands, code = [b.text for b in page.blocks if isinstance(b, CodeBlock)]
    assert commands.splitlines() == [
        "python -m tune_distill.study results/smoothing-before/study.yaml --results results",
        "python -m tune_distill.report results/smoothing-before",
    ]
    assert "tune_distill.verdict('smoothing-before', results='results')" in code


@pytest.mark.parametrize("name", ["smoothing", "sequence_length", "null", "hard names"])
def test_the_code_of_the_report_runs(studies, name, tmp_path, monkeypatch):
    folder = studies.copy(name, tmp_path)
    page = again(folder)
    *_, code = [b.text for b in page.blocks if isinstance(b, CodeBlock)]
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(code, made)
    verdict = studies.verdict(name)
    assert len(made["comparisons"]) == len(made["verdict"]["comparisons"]) > 0
    assert len(made["means"]) == len(verdict.results.settings)
    shown = sorted(values(page, "Settings", "label accuracy"))
    assert sorted(made["means"]["label_accuracy"]) == pytest.approx(shown)


def test_the_page_says_where_it_ran(studies, tmp_path):
    folder = studies.copy("one seed", tmp_path)
    environment = {
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "ray": None},
        "git_commit": None,
        "platform": "Linux",
        "machine": "x86_64",
        "num_cpus": 2,
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    [block] = [
        b for b in again(folder).blocks if isinstance(b, TableBlock) and b.caption == "Where it ran"
    ]
    rows = [tuple(cell.text for cell in row) for row in block.rows]
    assert rows == [("python", "3.11.7"), ("machine", "Linux, 2 CPUs"), ("torch", "2.13.0")]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"packages": null}'])
def test_a_damaged_environment_is_named(studies, tmp_path, content):
    folder = studies.copy("one setting", tmp_path)
    (folder / "environment.json").write_text(content)
    with pytest.raises(StoreError, match=r"environment\.json: must be as .* or remove it"):
        again(folder)


def test_a_column_of_nulls_and_texts_is_no_number(studies):
    rows = table(page_of(studies, "null"), "Settings")
    assert [row["revision"] for row in rows] == ["none", "main", "v2"]
