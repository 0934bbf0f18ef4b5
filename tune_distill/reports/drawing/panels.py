"""What a figure shows, as numbers: panels of series.

The functions that make figures are tested on these numbers; `charts` only draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeAlias

from tune_distill.spec.printable import printable

Value: TypeAlias = float | str
"""A number, or the name of a category."""

_NONE = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")

Marker: TypeAlias = Literal["circle", "open", "open triangle", "diamond"]


@dataclass(frozen=True)
class Axis:
    """One axis. `label` says what is measured and in which unit; `categories` are in order.

    `limits` fix the ends of a numeric axis; by default they follow the numbers. A `bare` axis shows
    no numbers.
    """

    label: str
    scale: Literal["linear", "log", "category"] = "linear"
    categories: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    bare: bool = False


@dataclass(frozen=True)
class Series:
    """Points, a line through points, intervals around points, or a band.

    `x` and `y` (n values each) are positions; `low` and `high` (n values each, for intervals and
    bands) are ends along the axis `along`. `name` is the name in the legend, empty for none; series
    of one name share a colour in all panels of a figure and one entry in the legend. `texts` (n)
    say what each point is: under the pointer, and in print beside the point if `annotated`.
    `offset` moves points along a category axis, as a fraction of the step between categories.
    `shade` (0 to 1) colours the series on a sequential scale instead, for more series than a legend
    can name. `faint` series are drawn weaker and behind the others.
    """

    name: str
    kind: Literal["points", "line", "intervals", "band"]
    x: tuple[Value, ...]
    y: tuple[Value, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    along: Literal["x", "y"] = "y"
    texts: tuple[str, ...] = ()
    annotated: bool = False
    marker: Marker = "circle"
    dashed: bool = False
    offset: float = 0.0
    shade: float | None = None
    faint: bool = False


@dataclass(frozen=True)
class Rule:
    """A thin line across the panel at `value` of `axis`, such as "no difference".

    With an `end` on a numeric axis, the span from `value` to `end` is shaded instead.
    """

    axis: Literal["x", "y"]
    value: Value
    text: str = ""
    end: float | None = None


@dataclass(frozen=True)
class Panel:
    """Series over two axes."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table of shaded cells: `values[row][column]` in [0, 1] are the shades, `texts` the content.

    Both axes have categories: `y` names the rows from the top, `x` the columns.
    """

    title: str
    x: Axis
    y: Axis
    values: tuple[tuple[float, ...], ...]
    texts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Panels under one title. `name` is its file's stem; `caption` says what the marks are, and n.

    `shades` name the two ends of the sequential scale, if some series have a shade.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel | Grid, ...]
    shades: tuple[str, str] | None = None


def without_controls(figure: Figure) -> Figure:
    """Return the figure with all control characters escaped.

    Names come from users, and SVG cannot contain control characters, U+FFFE or U+FFFF.
    """
    shown = _without_controls(figure)
    assert isinstance(shown, Figure)
    return shown


def _without_controls(part: Any) -> Any:
    if isinstance(part, str):
        return printable(part).translate(_NONE)
    if isinstance(part, tuple):
        return tuple(_without_controls(each) for each in part)
    if is_dataclass(part) and not isinstance(part, type):
        shown = {each.name: _without_controls(getattr(part, each.name)) for each in fields(part)}
        return replace(part, **shown)
    return part
