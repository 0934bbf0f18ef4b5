"""Series and rules as the layers of a Vega-Lite panel, and their rows of data."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from tune_distill.reports.drawing.geometry import ends, extent, positions
from tune_distill.reports.drawing.panels import Axis, Panel, Rule, Series

Spec: TypeAlias = dict[str, Any]
Which: TypeAlias = Literal["x", "y"]

WIDTH = 420
"""Pixels of a panel."""

CHOICE = "chosen"
"""The names that a reader picked in the legend; while there are none, all are shown."""

_MOST_NAMES = 16
"""Categories of an axis whose names are all shown."""

_MOST_POINTS = 2000
"""Of lines in a layer that answer to the pointer one by one: each is an element of the page."""

_KINDS = ("band", "line", "intervals", "points")
"""In the order in which they are drawn."""

_SHAPES: dict[str, Spec] = {
    "circle": {"shape": "circle", "filled": True},
    "open": {"shape": "circle", "filled": False},
    "triangle": {"shape": "triangle-up", "filled": True},
    "open triangle": {"shape": "triangle-up", "filled": False},
    "diamond": {"shape": "diamond", "filled": True},
}

# Vega writes 0.00001 on log axes as 10µ; labels that it leaves out for lack of room are empty.
_POWERS = (
    "datum.label === '' ? '' : abs(datum.value) < 1e-3 || abs(datum.value) >= 1e5"
    " ? format(datum.value, '~e') : format(datum.value, '~r')"
)


def series_layers(
    panel: Panel, listed: Sequence[str], shades: tuple[str, str] | None
) -> list[Spec]:
    """A layer for all series that look alike but for their colour."""
    numbered = sorted(enumerate(panel.series), key=lambda pair: _look(pair[1]))
    return [
        _layer(panel, list(group), listed, shades)
        for _, group in itertools.groupby(numbered, lambda pair: _look(pair[1]))
    ]


def units(layers: Sequence[Spec]) -> Iterator[Spec]:
    """The layers that hold no others."""
    for layer in layers:
        yield from units(layer["layer"]) if "layer" in layer else (layer,)


def rule_layer(panel: Panel, rule: Rule) -> Spec:
    """The rule's line."""
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "style": "reference", "clip": True},
        "encoding": {rule.axis: channel(panel, rule.axis, {"datum": rule.value})},
    }


def rule_text_layer(panel: Panel, rule: Rule) -> Spec:
    """The rule's text, above the panel or at the right end of the line."""
    if rule.axis == "x":
        mark = {"align": "center", "baseline": "bottom", "dy": -3}
        end: Spec = {"y": {"value": 0}}
    else:
        mark = {"align": "right", "baseline": "bottom", "dx": -2, "dy": -3}
        end = {"x": {"value": "width"}}
    return {
        "data": {"values": [{}]},
        "mark": mark | {"type": "text", "text": rule.text, "clip": False},
        "encoding": {rule.axis: channel(panel, rule.axis, {"datum": rule.value})} | end,
    }


def channel(panel: Panel, which: Which, source: Spec) -> Spec:
    """The encoding of an axis: the same in all layers of a panel, but for its source."""
    axis = panel.x if which == "x" else panel.y
    scale: Spec = {"domain": [_short(end) for end in extent(panel, which)], "nice": False}
    style: Spec = {"title": axis.label or None}
    if axis.scale == "category":
        style |= _names(axis) | {"labelAngle": label_angle(axis) if which == "x" else 0}
        # Names read from the top.
        scale |= {"reverse": which == "y"}
    elif axis.scale == "log":
        scale |= {"type": "log"}
        style |= {"labelExpr": _POWERS, "tickCount": 6}
    else:
        style |= {"tickCount": 6}
    return source | {"type": "quantitative", "scale": scale, "axis": style}


def label_angle(axis: Axis) -> int:
    """Degrees of the names below a panel: slanted where they would not fit side by side."""
    letters = max((len(name) for name in axis.categories), default=0)
    return -35 if letters * len(axis.categories) * 7 > WIDTH else 0


def _names(axis: Axis) -> Spec:
    """Categories lie at numbers, so that points may lie beside them and lines go through."""
    return {
        "values": list(range(len(axis.categories))),
        "labelExpr": f"{json.dumps(axis.categories)}[datum.value]",
        # Left to itself Vega drops slanted names that would not touch.
        "labelOverlap": len(axis.categories) > _MOST_NAMES,
        "grid": False,
        "ticks": False,
    }


def _look(series: Series) -> tuple[Any, ...]:
    """What the series of one layer have in common; faint ones are drawn first."""
    return (
        _KINDS.index(series.kind),
        not series.faint,
        series.shade is None,
        bool(series.name),
        series.along,
        series.marker,
        series.dashed,
    )


def _layer(
    panel: Panel,
    group: Sequence[tuple[int, Series]],
    listed: Sequence[str],
    shades: tuple[str, str] | None,
) -> Spec:
    first = group[0][1]
    opacity = {"band": 0.2, "line": 0.95, "intervals": 1.0, "points": 1.0}[first.kind]
    if first.faint:
        # Points stand alone; thin lines lie on each other.
        opacity *= 0.65 if first.kind == "points" else 0.45
    mark = _mark(first)
    tooltip = _tooltip(panel, first)
    # Vega knows a line and a band as one mark, with the numbers of its first point.
    whole = first.kind in ("line", "band")
    encoding = _place(panel, first) | {"tooltip": tooltip[:1] if whole else tooltip}
    if first.shade is not None:
        encoding |= {"stroke": _shade(shades)}
    elif first.name:
        shown = {"condition": {"param": CHOICE, "value": opacity}, "value": 0.05}
        encoding |= {"color": _colour(listed), "opacity": shown}
    else:
        mark |= {"style": "unnamed" if listed else "only"}
    if "opacity" not in encoding:
        mark |= {"opacity": opacity}
    rows = [row for number, series in group for row in _rows(panel, series, number)]
    data = {"data": {"values": rows}}
    drawn: Spec = {"mark": mark, "encoding": encoding}
    if first.kind != "line" or len(rows) > _MOST_POINTS:
        return data | drawn
    places = {which: encoding[which] for which in ("x", "y")}
    hidden = {"type": "point", "size": 80, "opacity": 0, "clip": True}
    return data | {"layer": [drawn, {"mark": hidden, "encoding": places | {"tooltip": tooltip}}]}


def _mark(series: Series) -> Spec:
    thin = series.faint or series.shade is not None
    if series.kind == "points":
        return {"type": "point", "size": 22 if series.faint else 55, "clip": True} | _SHAPES[
            series.marker
        ]
    if series.kind == "line":
        dash = {"strokeDash": [6, 4]} if series.dashed else {}
        return {"type": "line", "strokeWidth": 1 if thin else 2, "clip": True} | dash
    if series.kind == "intervals":
        return {"type": "rule", "strokeWidth": 1 if thin else 2, "clip": True}
    orient = "horizontal" if series.along == "x" else "vertical"
    return {"type": "area", "orient": orient, "clip": True}


def _place(panel: Panel, series: Series) -> Spec:
    """Where the marks lie."""
    if series.kind in ("points", "line"):
        made = {which: channel(panel, which, {"field": which}) for which in ("x", "y")}
        # Else Vega-Lite joins points from left to right, whatever their order.
        lines = {"detail": {"field": "series"}, "order": {"field": "order", "type": "quantitative"}}
        return made | (lines if series.kind == "line" else {})
    other: Which = "x" if series.along == "y" else "y"
    return {
        other: channel(panel, other, {"field": other}),
        series.along: channel(panel, series.along, {"field": "low"}),
        f"{series.along}2": {"field": "high"},
        "detail": {"field": "series"},
    }


def _tooltip(panel: Panel, series: Series) -> list[Spec]:
    """The name as a heading, the text, and the numbers below it."""
    lines: list[Spec] = [{"field": "name", "title": "title"}]
    if series.texts:
        lines.append({"field": "text", "title": " "})
    for which, axis in (("x", panel.x), ("y", panel.y)):
        if axis.scale == "category":
            lines.append({"field": f"{which}_name", "title": axis.label or " "})
        else:
            lines.append(_number(which, axis.label or which))
    if series.kind in ("intervals", "band"):
        lines += [_number("low", "from"), _number("high", "to")]
    return lines


def _number(field: str, title: str) -> Spec:
    return {"field": field, "title": title, "type": "quantitative", "format": ".4~g"}


def _colour(listed: Sequence[str]) -> Spec:
    legend = {
        "title": None,
        "orient": "bottom",
        "columns": 3 if max(map(len, listed)) < 24 else 2,
        "labelLimit": 260,
        "symbolLimit": 24,
        "symbolOpacity": 1,
    }
    return {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": list(listed)},
        "legend": legend,
    }


def _shade(shades: tuple[str, str] | None) -> Spec:
    low, high = (json.dumps(text) for text in shades or ("", ""))
    legend = {
        "title": None,
        "orient": "bottom",
        "direction": "horizontal",
        "gradientLength": 200,
        "values": [0, 1],
        "labelExpr": f"datum.value < 0.5 ? {low} : {high}",
        "labelLimit": 160,
    }
    return {
        "field": "shade",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "legend": legend if shades else None,
    }


def _rows(panel: Panel, series: Series, number: int) -> list[Spec]:
    x, y = positions(panel, series)
    low, high = ends(panel, series) if series.low else ([], [])
    rows = []
    for place in range(len(x)):
        row: Spec = {"x": _short(x[place]), "y": _short(y[place])}
        row |= {"name": series.name, "series": number, "order": place}
        row |= {"text": series.texts[place]} if series.texts else {}
        row |= {"low": _short(low[place]), "high": _short(high[place])} if low else {}
        row |= {"shade": series.shade} if series.shade is not None else {}
        row |= {"x_name": series.x[place]} if panel.x.scale == "category" else {}
        row |= {"y_name": series.y[place]} if panel.y.scale == "category" else {}
        rows.append(row)
    return rows


def _short(value: float) -> float | None:
    """Enough digits for any screen; JSON knows no NaN."""
    return float(f"{value:.8g}") if math.isfinite(value) else None
