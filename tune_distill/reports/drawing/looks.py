"""The colours and shapes that distinguish a figure's series, the same in all of its panels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tune_distill.reports.drawing.axes import Sheet, Spec
from tune_distill.reports.drawing.geometry import names
from tune_distill.reports.drawing.lettering import width
from tune_distill.reports.drawing.palette import SHAPES, colour_places
from tune_distill.reports.drawing.panels import Figure, Panel, Series

_MOST_MARKERS = 9
"""The number of markers along a line, roughly."""

_OWN_SHAPES = {"open": "circle", "open triangle": "triangle-up", "diamond": "diamond"}


@dataclass(frozen=True)
class Looks:
    """What the panels of a figure have in common.

    `names` are the names in the legend. `places` has each name at the index of its colour, and
    `shapes` has the shape of each of these. `shades` name the ends of the sequential scale.
    """

    sheet: Sheet
    names: tuple[str, ...]
    places: tuple[str, ...]
    shapes: tuple[str, ...]
    shades: tuple[str, str] | None


def looks_of(figure: Figure, sheet: Sheet) -> Looks:
    """Return the looks of the figure's names and shades on this sheet."""
    listed = names(figure)
    places = colour_places(listed)
    markers = {one.name: one.marker for one in _series(figure) if one.kind == "points"}
    shapes = [
        _OWN_SHAPES.get(markers[name], SHAPES[place % len(SHAPES)]) if name in markers else "stroke"
        for place, name in enumerate(places)
    ]
    return Looks(sheet, tuple(listed), tuple(places), tuple(shapes), figure.shades)


def with_markers(figure: Figure) -> Figure:
    """Return the figure with markers along its lines, if several have names.

    Prints may lack colours.
    """
    pointed = {one.name for one in _series(figure) if one.kind == "points"}
    lines = {one.name for one in _series(figure) if one.kind == "line" and one.shade is None}
    listed = [name for name in names(figure) if name in lines - pointed]
    if len(listed) < 2:
        return figure

    def markers(panel: Panel) -> Iterator[Series]:
        for one in panel.series:
            if one.name in listed and not one.faint:
                step = max(len(one.x) // _MOST_MARKERS, 1)
                # Markers of each name start elsewhere, so that lines on top of each other show
                # both.
                some = slice(listed.index(one.name) % step, None, step)
                yield Series(one.name, "points", one.x[some], one.y[some])

    panels = tuple(
        replace(panel, series=(*panel.series, *markers(panel)))
        if isinstance(panel, Panel)
        else panel
        for panel in figure.panels
    )
    return replace(figure, panels=panels)


def _series(figure: Figure) -> list[Series]:
    return [one for panel in figure.panels if isinstance(panel, Panel) for one in panel.series]


def colours_by_name(looks: Looks) -> Spec:
    """Return the encoding that gives each name the colour of its place."""
    return _named(looks, {})


def shapes_by_name(looks: Looks) -> Spec:
    """Return the encoding that gives each name its shape; one legend shows colours and shapes."""
    return _named(looks, {"range": list(looks.shapes)})


def colours_by_shade(looks: Looks) -> Spec:
    """Return the encoding of shades from 0 to 1, named at both ends."""
    low, high = (json.dumps(text) for text in looks.shades or ("", ""))
    legend = {
        "title": None,
        "orient": "bottom",
        "direction": "horizontal",
        "gradientLength": 300,
        "values": [0, 1],
        "labelExpr": f"datum.value < 0.5 ? {low} : {high}",
        "labelLimit": 145,
    }
    return {
        "field": "shade",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "legend": legend if looks.shades else None,
    }


def _named(looks: Looks, more: Spec) -> Spec:
    widest = max(map(width, looks.names)) + 30
    legend = {
        "title": None,
        "orient": "bottom",
        "values": list(looks.names),
        "columns": min(max(int(looks.sheet.whole / widest), 1), len(looks.names)),
        "labelLimit": 260,
        "symbolLimit": 24,
        "symbolOpacity": 1,
    }
    scale: Spec = {"domain": list(looks.places)} | more
    return {"field": "name", "type": "nominal", "scale": scale, "legend": legend}
