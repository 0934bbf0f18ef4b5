"""Series, rules and cells in print: what stands inside the axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tune_distill.reports.drawing.geometry import ends, extent, names, positions
from tune_distill.reports.drawing.lettering import SMALL, width
from tune_distill.reports.drawing.palette import CELLS, LIGHT, MARKERS, NEUTRAL, on_cell
from tune_distill.reports.drawing.panels import Figure, Grid, Panel, Series

# Without the palest end, which paper swallows.
SHADES = LinearSegmentedColormap.from_list(
    "shades", colormaps["cividis"](np.linspace(0.0, 0.93, 64))
)
_CELLS = LinearSegmentedColormap.from_list("cells", list(CELLS))

_DASHES = (0, (4.0, 2.0))
_MOST_MARKERS = 9


class Looks:
    """The colour and the shape of each name of a figure."""

    def __init__(self, figure: Figure) -> None:
        self._order = {name: place for place, name in enumerate(names(figure))}
        panels = [panel for panel in figure.panels if isinstance(panel, Panel)]
        series = [one for panel in panels for one in panel.series]
        pointed = {one.name for one in series if one.kind == "points"}
        lines = {one.name for one in series if one.kind == "line"} & self._order.keys() - pointed
        # One line alone is told by being a line.
        self._marked_lines = lines if len(lines) > 1 else set()
        shaped = [name for name in self._order if name in pointed | self._marked_lines]
        self._shapes = dict(zip(shaped, itertools.cycle(MARKERS)))

    def colour(self, series: Series) -> Any:
        if series.shade is not None:
            return SHADES(series.shade)
        if series.name in self._order:
            return LIGHT[self._order[series.name] % len(LIGHT)]
        return NEUTRAL if self._order else LIGHT[0]

    def shape(self, series: Series) -> str:
        if series.marker == "diamond":
            return "D"
        if "triangle" in series.marker:
            return "^"
        return self._shapes.get(series.name, MARKERS[0])

    def line_markers(self, series: Series) -> dict[str, Any]:
        """Some markers along a line without points: paper may be printed without colours."""
        if series.faint or series.shade is not None or series.name not in self._marked_lines:
            return {}
        step = max(len(series.x) // _MOST_MARKERS, 1)
        # Every name starts elsewhere: lines that lie on each other show both.
        start = self._order[series.name] % step
        return {"marker": self.shape(series), "markersize": 4.0, "markevery": (start, step)}


def draw_panel(axes: Axes, panel: Panel, looks: Looks) -> None:
    """The axes show the panel's series and rules; texts come when the layout is settled."""
    for which, axis in (("x", panel.x), ("y", panel.y)):
        if axis.scale == "log":
            getattr(axes, f"set_{which}scale")("log")
    axes.set_xlim(extent(panel, "x"))
    low, high = extent(panel, "y")
    # Names read from the top.
    axes.set_ylim((high, low) if panel.y.scale == "category" else (low, high))
    for which, axis in (("x", panel.x), ("y", panel.y)):
        if axis.scale != "category":
            axes.grid(axis=which, color="#E6E6E6", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for rule in panel.rules:
        line = axes.axvline if rule.axis == "x" else axes.axhline
        line(rule.value, color="#808080", linewidth=0.8, zorder=1.5)
    for series in panel.series:
        _DRAWERS[series.kind](axes, panel, series, looks)
    if not panel.series:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#707070")


def draw_grid(axes: Axes, grid: Grid) -> None:
    """The axes show the cells of the grid."""
    values = np.ma.masked_invalid(np.array(grid.values, dtype=float))
    axes.imshow(values, cmap=_CELLS, vmin=0.0, vmax=1.0, aspect="auto")
    axes.spines[:].set_visible(False)


def write_cells(axes: Axes, grid: Grid, wide: float, high: float) -> None:
    """Each cell of axes of that many inches holds its text, where it can be read at all."""
    texts = [text for row in grid.texts for text in row]
    step_x, step_y = wide / max(len(grid.x.categories), 1), high / max(len(grid.y.categories), 1)
    widest = max((width(text, SMALL) for text in texts), default=0.0) or step_x
    size = min(SMALL * 0.9 * step_x / widest, 72 * 0.7 * step_y, SMALL)
    if size < 4.5:
        return
    for row, (values, line) in enumerate(zip(grid.values, grid.texts, strict=True)):
        for column, (value, text) in enumerate(zip(values, line, strict=True)):
            axes.text(column, row, text, ha="center", va="center", size=size, color=on_cell(value))


def legend_handle(name: str, panels: Sequence[Panel], looks: Looks) -> Artist:
    """A sample of the marks that the name has; of faint ones only if there are no others."""
    series = [one for panel in panels for one in panel.series if one.name == name]
    shown = [one for one in series if not one.faint] or series
    kinds = {one.kind: one for one in reversed(shown)}
    colour = looks.colour(shown[0])
    if kinds.keys() == {"band"}:
        return Patch(facecolor=colour, alpha=0.25)
    style: dict[str, Any] = {"color": colour, "linestyle": "none"}
    if "intervals" in kinds:
        style |= {"linestyle": "-", "linewidth": 1.2}
    if "line" in kinds:
        dashed = all(one.dashed for one in shown if one.kind == "line")
        style |= {"linestyle": _DASHES if dashed else "-", "linewidth": 1.6}
        style |= looks.line_markers(kinds["line"]) | {"markevery": None}
    if "points" in kinds:
        style |= _marker(kinds["points"], looks)
    return Line2D([], [], **style)


def _marker(series: Series, looks: Looks) -> dict[str, Any]:
    colour = looks.colour(series)
    hollow = series.marker in ("open", "open triangle")
    return {
        "marker": looks.shape(series),
        "markersize": 3.0 if series.faint else 5.0,
        "markerfacecolor": "white" if hollow else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.0 if hollow else 0.4,
    }


def _points(axes: Axes, panel: Panel, series: Series, looks: Looks) -> None:
    x, y = positions(panel, series)
    alpha = 0.45 if series.faint else 1.0
    axes.plot(x, y, linestyle="none", alpha=alpha, zorder=4, **_marker(series, looks))


def _line(axes: Axes, panel: Panel, series: Series, looks: Looks) -> None:
    x, y = positions(panel, series)
    thin = series.faint or series.shade is not None
    axes.plot(
        x,
        y,
        color=looks.colour(series),
        linestyle=_DASHES if series.dashed else "-",
        linewidth=0.8 if thin else 1.6,
        alpha=0.4 if series.faint else 0.9,
        zorder=2 if series.faint else 3,
        **looks.line_markers(series),
    )


def _intervals(axes: Axes, panel: Panel, series: Series, looks: Looks) -> None:
    x, y = positions(panel, series)
    low, high = ends(panel, series)
    style: Mapping[str, Any] = {
        "colors": [looks.colour(series)],
        "linewidth": 0.8 if series.faint else 1.2,
        "alpha": 0.45 if series.faint else 1.0,
        "zorder": 3.5,
    }
    if series.along == "x":
        axes.hlines(y, low, high, **style)
    else:
        axes.vlines(x, low, high, **style)


def _band(axes: Axes, panel: Panel, series: Series, looks: Looks) -> None:
    x, y = positions(panel, series)
    low, high = ends(panel, series)
    style: Mapping[str, Any] = {
        "facecolor": looks.colour(series),
        "alpha": 0.1 if series.faint else 0.2,
        "linewidth": 0,
        "zorder": 1,
    }
    if series.along == "x":
        axes.fill_betweenx(y, low, high, **style)
    else:
        axes.fill_between(x, low, high, **style)


_DRAWERS = {"points": _points, "line": _line, "intervals": _intervals, "band": _band}
