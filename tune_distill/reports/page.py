"""Reports as blocks of content, and their rendering as one self-contained HTML file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tune_distill.reports.drawing.charts import chart, theme
from tune_distill.reports.drawing.panels import Figure
from tune_distill.reports.drawing.pictures import chart_library
from tune_distill.spec.printable import printable


@dataclass(frozen=True)
class Heading:
    """A section's heading; levels 2 and 3 are in the table of contents."""

    text: str
    level: Literal[2, 3] = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Callout:
    """What a reader must not miss, in lines; the first line stands out.

    `clear`: the numbers give an answer. `open`: they do not. `warning`: something went wrong.
    """

    kind: Literal["clear", "open", "warning"]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class PageColumn:
    """A column of a table; numbers are aligned right and sorted by value."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell's text, and the number that it is sorted by if the text is not a number."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class TableBlock:
    """A table that a reader can sort by any column; each row has a cell per column."""

    caption: str
    columns: tuple[PageColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ChartBlock:
    """A figure: interactive in the page, a picture in Markdown."""

    figure: Figure


@dataclass(frozen=True)
class CodeBlock:
    """Commands or a file, verbatim."""

    text: str


@dataclass(frozen=True)
class ExampleBlock:
    """One example: its input and answers as pairs of a name and a text."""

    title: str
    fields: tuple[tuple[str, str], ...]
    tags: tuple[str, ...] = ()


Block: TypeAlias = (
    Heading | Paragraph | Callout | TableBlock | ChartBlock | CodeBlock | ExampleBlock
)


@dataclass(frozen=True)
class Page:
    """A report. `links` are pairs of a text and a target, which is a file beside the page."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]
    links: tuple[tuple[str, str], ...] = ()


def render_page(page: Page) -> str:
    """Return one HTML file that needs neither a network nor other files."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [block.figure for block in page.blocks if isinstance(block, ChartBlock)]
    return environment.get_template("page.html").render(
        page=page,
        blocks=_with_anchors(page.blocks),
        charts=_script_json([chart(figure) for figure in figures]),
        themes=_script_json({"light": theme("light"), "dark": theme("dark")}),
        library=chart_library() if figures else None,
    )


def _shown(value: Any) -> Any:
    """Escape control characters in plain strings; markup stays as it is."""
    return printable(value) if type(value) is str else value


def _with_anchors(blocks: Sequence[Block]) -> list[tuple[str, str, Block]]:
    """Return each block's kind, its unique anchor, and the block."""
    made: list[tuple[str, str, Block]] = []
    taken: set[str] = set()
    for block in blocks:
        named = block.text if isinstance(block, Heading) else type(block).__name__
        stem = re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-") or "section"
        anchor, count = stem, 1
        while anchor in taken:
            count += 1
            anchor = f"{stem}-{count}"
        taken.add(anchor)
        made.append((type(block).__name__, anchor, block))
    return made


def _script_json(value: Any) -> str:
    """Return JSON for a script element, in which no text ends the element or a line."""
    # json.dumps escapes everything that is not ASCII.
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
