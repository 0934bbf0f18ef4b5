"""Pages with every kind of block, for the tests that render them."""

from __future__ import annotations

from dataclasses import replace

from tests.reports.drawing import made_figures
from tune_distill.reports.page import (
    Callout,
    Cell,
    ChartBlock,
    CodeBlock,
    ExampleBlock,
    Heading,
    Page,
    PageColumn,
    Paragraph,
    TableBlock,
)

EVIL = (
    "</script><img src=x onerror=document.title='broken'>",
    "\"'><b onclick=alert(1)>&amp;",
    "one\u2028two\u2029three",
    "<!--<script>",
    "{{ 7 * 7 }}",
)


def table() -> TableBlock:
    """Return a table of names and numbers, unsorted, one of them empty."""
    accuracies = (Cell("0.5 ± 0.1", 0.5), Cell(""), Cell("0.25"), Cell("10 %", 0.1), Cell("1e-3"))
    rows = tuple(zip(map(Cell, ("b", "a", "", "a10", "a9")), accuracies, strict=True))
    return TableBlock("Means", (PageColumn("setting"), PageColumn("accuracy", numeric=True)), rows)


def example() -> ExampleBlock:
    """Return a prediction."""
    fields = (("premise", "A man sleeps."), ("answer", "neutral"))
    return ExampleBlock("Example 7", fields, ("wrong",))


def report(text: str = "text") -> Page:
    """Return a page with every block, with the text wherever a text may be."""
    figure = replace(made_figures.crowd(), title=text, caption=text)
    blocks = (
        Heading(text),
        Callout("clear", (text, text)),
        Paragraph(text),
        TableBlock(text, (PageColumn(text),), ((Cell(text),),)),
        Heading("Figures", 3),
        ChartBlock(figure),
        ExampleBlock(text, ((text, text),), (text,)),
        CodeBlock(text),
    )
    return Page(text, text, blocks, ((text, "trials.csv"),))
