import pytest
from markdown_it import MarkdownIt

from tests.reports.drawing import made_figures
from tests.reports.made_pages import EVIL, example, report, table
from tune_distill.reports.markdown import render_markdown
from tune_distill.reports.page import (
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


def markdown(*blocks, **parts):
    given = {"title": "A study", "subtitle": "Three settings"} | parts
    return render_markdown(Page(blocks=blocks, **given))


def html(text):
    """Return the text as a Markdown reader renders it."""
    return MarkdownIt("commonmark").enable("table").render(text)


def test_the_blocks_stand_one_after_another():
    text = markdown(Heading("Verdict"), Paragraph("All is well."), links=(("data", "a b.csv"),))
    assert text == (
        "# A study\n\nThree settings\n\n[data](a%20b.csv)\n\n## Verdict\n\nAll is well.\n"
    )


def test_a_table_aligns_its_numbers():
    assert markdown(table()).splitlines()[4:9] == [
        "Means",
        "",
        "| setting | accuracy |",
        "| :-- | --: |",
        "| b | 0.5 ± 0.1 |",
    ]


def test_a_cell_stays_in_its_column():
    cells = ((Cell("a | b\nc"), Cell("`d` | e")),)
    rendered = html(markdown(TableBlock("", (PageColumn("x|y"), PageColumn("z")), cells)))
    assert "<th>x|y</th>" in rendered.replace(' style="text-align:left"', "")
    assert rendered.count("<td") == 2
    assert "a | b c" in rendered
    assert "`d` | e" in rendered


def test_a_chart_is_a_picture():
    assert "![A title](figures/crowd.png)\n\nn = 3\n" in markdown(ChartBlock(made_figures.crowd()))


def test_a_callout_is_an_alert():
    text = markdown(Callout("open", ("No difference", "n = 3")))
    assert text.endswith("> [!NOTE]\n> **No difference**  \n> n = 3\n")


def test_an_example_is_a_list():
    text = markdown(example())
    assert text.endswith("**Example 7** (wrong)\n\n- premise: A man sleeps.\n- answer: neutral\n")


def test_code_may_hold_a_fence():
    assert "<code>```\na_b *c*\n```\n</code>" in html(markdown(CodeBlock("```\na_b *c*\n```")))


@pytest.mark.parametrize(
    "text", ["# no", "- no", "1. no", "> no", "*no*", "_no_", "[a](b)", "a\\*"]
)
def test_plain_text_has_no_marks(text):
    rendered = html(markdown(Paragraph(text))).splitlines()[-1]
    assert rendered == f"<p>{text.replace('>', '&gt;')}</p>"


def test_names_keep_their_underscores():
    assert "label_smoothing" in markdown(Paragraph("label_smoothing"))


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_becomes_markup(evil):
    rendered = html(render_markdown(report(evil)))
    assert "<img src=x" not in rendered
    assert "<b onclick" not in rendered
    assert "<!--" not in rendered


HOSTILE = "a\x1b[2Jb \u202etxt \udcff \x07"


def test_control_characters_are_shown():
    """The file's writer must not control the terminal of those who print the file."""
    text = render_markdown(report(HOSTILE))
    assert text.replace("\n", "").isprintable()
    assert "\\u202etxt" in text
    text.encode("utf-8")
