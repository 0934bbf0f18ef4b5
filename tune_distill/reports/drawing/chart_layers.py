"""Series and rules as the layers of a Vega-Lite panel, and their rows of data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tune_distill.reports.drawing.axes import Sheet, Spec, Which, channel, short
from tune_distill.reports.drawing.geometry import between, ends, position, positions
from tune_distill.reports.drawing.looks import (
    Looks,
    colours_by_name,
    colours_by_shade,
    shapes_by_name,
)
from tune_distill.reports.drawing.panels import Panel, Rule, Series

CHOICE = "chosen"
"""The names that a reader chose in the legend; if there are none, all are shown."""

LABELS = "labels"
"""Prefix of the names of layers whose texts are placed beside their points automatically."""

_MOST_POINTS = 2000
"""The most points of a layer's lines that react to the pointer: each is an element of the page."""

_INK = 15
"""Number of parts of a line between two points; labels avoid the places where the parts meet."""

_KINDS = ("band", "line", "intervals", "points")
"""In drawing order."""


def series_layers(panel: Panel, looks: Looks) -> list[Spec]:
    """Return a layer for all series that differ only in colour, and layers for texts."""
    numbered = sorted(enumerate(panel.series), key=lambda pair: _look(pair[1]))
    layers = [
        _layer(panel, list(group), looks)
        for _, group in itertools.groupby(numbered, lambda pair: _look(pair[1]))
    ]
    return [*layers, *_labels(panel, looks)]


def units(layers: Sequence[Spec]) -> Iterator[Spec]:
    """Yield the layers that contain no other layers."""
    for layer in layers:
        yield from units(layer["layer"]) if "layer" in layer else (layer,)


def rule_layer(panel: Panel, rule: Rule, sheet: Sheet) -> Spec:
    """Return the layer of the rule's line, or of the span that it shades."""
    at = {"datum": _place_of(panel, rule)}
    place: Spec = {rule.axis: channel(panel, rule.axis, at, sheet)}
    if rule.end is None:
        mark: Spec = {"type": "rule", "style": "reference"}
    else:
        mark = {"type": "rect", "style": "reference", "fillOpacity": 0.15}
        place |= {f"{rule.axis}2": {"datum": rule.end}}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": place}


def rule_text_layer(panel: Panel, rule: Rule, sheet: Sheet) -> Spec:
    """Return the layer of the rule's text, above the panel or at the right end of the line."""
    if rule.axis == "x":
        mark = {"align": "center", "baseline": "bottom", "dy": -3}
        end: Spec = {"y": {"value": 0}}
    else:
        mark = {"align": "right", "baseline": "bottom", "dx": -2, "dy": -3}
        end = {"x": {"value": "width"}}
    place = {rule.axis: channel(panel, rule.axis, {"datum": _place_of(panel, rule)}, sheet)}
    return {
        "data": {"values": [{}]},
        "mark": mark | {"type": "text", "text": rule.text, "clip": False},
        "encoding": place | end,
    }


def _look(series: Series) -> tuple[Any, ...]:
    """Return what the series of one layer have in common; faint series are drawn first."""
    return (
        _KINDS.index(series.kind),
        not series.faint,
        series.shade is None,
        bool(series.name),
        series.along,
        series.marker,
        series.dashed,
    )


def _layer(panel: Panel, group: Sequence[tuple[int, Series]], looks: Looks) -> Spec:
    first = group[0][1]
    faded, opacity = _opacity(first)
    mark = _mark(first)
    tooltip = _tooltip(panel, first)
    # Vega treats a line or a band as one mark, with the numbers of its first point.
    whole = first.kind in ("line", "band")
    encoding = _place(panel, first, looks.sheet) | {"tooltip": tooltip[:1] if whole else tooltip}
    if first.shade is not None:
        encoding |= {"stroke": colours_by_shade(looks)}
    elif first.name:
        encoding |= {"color": colours_by_name(looks)}
        if looks.sheet.interactive:
            shown = {"condition": {"param": CHOICE, "value": opacity}, "value": 0.05}
            encoding |= {faded: shown}
        if first.kind == "points":
            encoding |= {"shape": shapes_by_name(looks)}
    else:
        mark |= {"style": "unnamed" if looks.names or looks.shades else "only"}
    if faded not in encoding:
        mark |= {faded: opacity}
    rows = [row for number, series in group for row in _rows(panel, series, number)]
    data = {"data": {"values": rows}}
    drawn: Spec = {"mark": mark, "encoding": encoding}
    if first.kind != "line" or len(rows) > _MOST_POINTS or not looks.sheet.interactive:
        return data | drawn
    places = {which: encoding[which] for which in ("x", "y")}
    hidden = {"type": "point", "size": 80, "filled": True, "opacity": 1, "fillOpacity": 0}
    return data | {"layer": [drawn, {"mark": hidden, "encoding": places | {"tooltip": tooltip}}]}


def _opacity(series: Series) -> tuple[str, float]:
    """Return the opacity's channel and value. Opacity of strokes or fills alone is drawn faster."""
    if series.kind == "band":
        return "fillOpacity", 0.1 if series.faint else 0.2
    if series.kind == "points":
        return "fillOpacity" if _filled(series) else "strokeOpacity", 0.8 if series.faint else 1.0
    return "strokeOpacity", 0.45 if series.faint else 1.0


def _filled(series: Series) -> bool:
    return not series.marker.startswith("open")


def _labels(panel: Panel, looks: Looks) -> list[Spec]:
    """Return two layers of annotated points' texts: a wider halo, and the labels in front of it."""
    rows = [
        row
        for number, series in enumerate(panel.series)
        if series.annotated and series.kind == "points"
        for row in _rows(panel, series, number)
        if row["text"]
    ]
    if not rows:
        return []
    rows += _ink(panel)
    encoding = {which: channel(panel, which, {"field": which}, looks.sheet) for which in ("x", "y")}
    encoding |= {"text": {"field": "text"}}
    return [
        {
            "name": f"{LABELS}_{style}",
            "data": {"values": rows},
            "mark": {"type": "text", "style": style},
            "encoding": encoding,
        }
        for style in ("halo", "label")
    ]


def _ink(panel: Panel) -> Iterator[Spec]:
    """Yield empty texts along the named lines, so that labels avoid these lines."""
    for series in panel.series:
        if series.kind == "line" and series.name:
            places = itertools.pairwise(zip(*positions(panel, series), strict=True))
            for ((x, y), (next_x, next_y)), step in itertools.product(places, range(1, _INK)):
                yield {
                    "x": short(between(panel.x, x, next_x, step / _INK)),
                    "y": short(between(panel.y, y, next_y, step / _INK)),
                    "text": "",
                }


def _mark(series: Series) -> Spec:
    thin = series.faint or series.shade is not None
    if series.kind == "points":
        size = 28 if series.faint else 55
        return {"type": "point", "size": size, "filled": _filled(series), "opacity": 1}
    if series.kind == "line":
        dash = {"strokeDash": [6, 4]} if series.dashed else {}
        return {"type": "line", "strokeWidth": 1 if thin else 2} | dash
    if series.kind == "intervals":
        return {"type": "rule", "strokeWidth": 1 if thin else 2}
    orient = "horizontal" if series.along == "x" else "vertical"
    return {"type": "area", "orient": orient}


def _place(panel: Panel, series: Series, sheet: Sheet) -> Spec:
    """Return the encoding of the marks' positions."""
    if series.kind in ("points", "line"):
        made = {which: channel(panel, which, {"field": which}, sheet) for which in ("x", "y")}
        # Without `order`, Vega-Lite joins points from left to right.
        lines = {"detail": {"field": "series"}, "order": {"field": "order", "type": "quantitative"}}
        return made | (lines if series.kind == "line" else {})
    other: Which = "x" if series.along == "y" else "y"
    return {
        other: channel(panel, other, {"field": other}, sheet),
        series.along: channel(panel, series.along, {"field": "low"}, sheet),
        f"{series.along}2": {"field": "high"},
        "detail": {"field": "series"},
    }


def _place_of(panel: Panel, rule: Rule) -> float:
    return position(panel.x if rule.axis == "x" else panel.y, rule.value)


def _tooltip(panel: Panel, series: Series) -> list[Spec]:
    """Return the tooltip's fields: the name as a heading, the text, and the numbers."""
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


def _rows(panel: Panel, series: Series, number: int) -> list[Spec]:
    x, y = positions(panel, series)
    low, high = ends(panel, series) if series.low else ([], [])
    rows = []
    for place in range(len(x)):
        row: Spec = {"x": short(x[place]), "y": short(y[place])}
        row |= {"name": series.name, "series": number, "order": place}
        row |= {"text": series.texts[place]} if series.texts else {}
        row |= {"low": short(low[place]), "high": short(high[place])} if low else {}
        row |= {"shade": series.shade} if series.shade is not None else {}
        row |= {"x_name": series.x[place]} if panel.x.scale == "category" else {}
        row |= {"y_name": series.y[place]} if panel.y.scale == "category" else {}
        rows.append(row)
    return rows
