"""Reports as Markdown, for a terminal, a pull request or a paper's repository."""

from __future__ import annotations

import re
from functools import singledispatch

from tune_distill.reports.page import (
    Block,
    Callout,
    ChartBlock,
    CodeBlock,
    ExampleBlock,
    Heading,
    Page,
    Paragraph,
    TableBlock,
)
from tune_distill.spec.printable import printable

# GitHub's alerts have an icon and a colour there, and look like a quotation elsewhere.
_ALERTS = {"clear": "TIP", "open": "NOTE", "warning": "WARNING"}


def render_markdown(page: Page) -> str:
    """Return the page in GitHub's Markdown; figures are pictures in `figures/` beside it."""
    links = " · ".join(f"[{_escaped(text)}]({_target(target)})" for text, target in page.links)
    parts = [f"# {_line(page.title)}", _escaped(page.subtitle), links]
    parts += [_markdown(block) for block in page.blocks]
    return printable("\n\n".join(part for part in parts if part)) + "\n"


@singledispatch
def _markdown(block: Block) -> str:
    raise TypeError(f"no Markdown for {block!r}")


@_markdown.register
def _(block: Heading) -> str:
    return f"{'#' * block.level} {_line(block.text)}"


@_markdown.register
def _(block: Paragraph) -> str:
    return _escaped(block.text)


@_markdown.register
def _(block: Callout) -> str:
    first, *others = (_line(line) for line in block.lines)
    lines = [f"[!{_ALERTS[block.kind]}]", f"**{first}**", *others]
    return "  \n".join(f"> {line}" for line in lines).replace("]  \n", "]\n", 1)


@_markdown.register
def _(block: TableBlock) -> str:
    rows = [
        [column.name for column in block.columns],
        *([cell.text for cell in row] for row in block.rows),
    ]
    lines = ["| " + " | ".join(_line(text) for text in row) + " |" for row in rows]
    rule = ("--:" if column.numeric else ":--" for column in block.columns)
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n\n".join(filter(None, [_escaped(block.caption), "\n".join(lines)]))


@_markdown.register
def _(block: ChartBlock) -> str:
    figure = block.figure
    picture = f"![{_line(figure.title)}](figures/{_target(figure.name)}.png)"
    return "\n\n".join(
        filter(None, [f"**{_line(figure.title)}**", picture, _escaped(figure.caption)])
    )


@_markdown.register
def _(block: CodeBlock) -> str:
    longest = max((len(run) for run in re.findall("`+", block.text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}\n{block.text.rstrip()}\n{fence}"


@_markdown.register
def _(block: ExampleBlock) -> str:
    tags = ", ".join(_line(tag) for tag in block.tags)
    title = f"**{_line(block.title)}**" + (f" ({tags})" if tags else "")
    fields = (f"- {_line(name)}: {_line(text)}" for name, text in block.fields)
    return title + "\n\n" + "\n".join(fields)


def _escaped(text: str) -> str:
    """Return the text with all Markdown and HTML markup escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    # Underscores within words need no escape: label_smoothing.
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    text = re.sub(r"(?m)^(\s*)([#+=-])", r"\1\\\2", text)
    return re.sub(r"(?m)^(\s*\d+)([.)]\s)", r"\1\\\2", text)


def _line(text: str) -> str:
    """Return the escaped text on one line, for places where a line end would end the block."""
    return _escaped(" ".join(text.split()))


def _target(target: str) -> str:
    """Return a link's target with spaces and brackets encoded, because they would end it."""
    return re.sub(r"[\s()<>]", lambda found: f"%{ord(found.group()):02X}", target)
