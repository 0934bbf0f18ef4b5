"""Figures for print: one figure always becomes the same bytes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from tune_distill.records.files import atomic_file
from tune_distill.reports.drawing.annotations import annotate
from tune_distill.reports.drawing.geometry import names
from tune_distill.reports.drawing.lettering import FONT, SIZE, SMALL, height, width, wrapped
from tune_distill.reports.drawing.marks import (
    SHADES,
    Looks,
    draw_grid,
    draw_panel,
    legend_handle,
    write_cells,
)
from tune_distill.reports.drawing.panels import Figure, Grid, Panel
from tune_distill.reports.drawing.ticks import fit_labels, name_width, row_heights

DPI = 200

_MOST_NAMES = 10
"""Of a legend; it says how many more there are."""

_TALLEST = 9.0
"""Inches of a row of panels, so that it fits a sheet."""

_EDGE = 0.08
_STYLE: dict[str, Any] = {
    "axes.edgecolor": "#808080",
    "axes.labelsize": SIZE,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": SIZE,
    "figure.facecolor": "white",
    "font.sans-serif": [FONT, "Verdana", "sans-serif"],
    "font.size": SIZE,
    "legend.fontsize": SMALL,
    "svg.fonttype": "none",
    "svg.hashsalt": "tune_distill",
    # Names may hold dollar signs.
    "text.parse_math": False,
    "xtick.color": "#404040",
    "xtick.labelsize": SMALL,
    "ytick.color": "#404040",
    "ytick.labelsize": SMALL,
}

# matplotlib's style is one for the whole process, and a server draws in several threads.
_style_in_use = threading.RLock()


@dataclass(frozen=True)
class Sheet:
    """The inches of a figure's panels: how they stand in rows and columns."""

    columns: int
    wide: float
    rows: tuple[float, ...]


def draw(figure: Figure) -> Drawing:
    """The figure, drawn and laid out: panels, title above, legend and caption below."""
    with _style():
        sheet = sheet_of(figure)
        drawing = Drawing(figsize=(sheet.wide, sum(sheet.rows)))
        FigureCanvasAgg(drawing)
        looks = Looks(figure)
        grid = drawing.add_gridspec(len(sheet.rows), sheet.columns, height_ratios=sheet.rows)
        panels = [
            (drawing.add_subplot(grid[divmod(place, sheet.columns)]), panel)
            for place, panel in enumerate(figure.panels)
        ]
        for axes, panel in panels:
            if isinstance(panel, Grid):
                draw_grid(axes, panel)
            else:
                draw_panel(axes, panel, looks)
        _lay_out(drawing, figure, looks, panels, sheet)
        for axes, panel in panels:
            if isinstance(panel, Grid):
                write_cells(axes, panel, *_inches(axes))
            else:
                annotate(axes, panel, *_inches(axes))
    return drawing


def save(figure: Figure, folder: Path) -> list[Path]:
    """`<name>.png` and `<name>.svg` are in the folder: for text documents, and to be set in print.

    Raises:
        StoreError: the folder cannot be written.
    """
    with _style():
        drawing = draw(figure)
        png, svg = folder / f"{figure.name}.png", folder / f"{figure.name}.svg"
        # Not savefig, which would draw each once more to lay it out.
        drawing.set_dpi(DPI)
        with atomic_file(png) as temporary:
            FigureCanvasAgg(drawing).print_png(temporary, metadata={"Software": None})
        with atomic_file(svg) as temporary:
            FigureCanvasSVG(drawing).print_svg(temporary, metadata={"Date": None})
    return [png, svg]


def sheet_of(figure: Figure) -> Sheet:
    """Room for the figure's panels: one alone is large, many stand three in a row."""
    count = len(figure.panels)
    columns = 1 if count == 1 else 2 if count <= 4 else 3
    least = {1: 3.5, 2: 2.7, 3: 2.2}[columns]
    tall = [max(least, _wanted(panel, columns)) for panel in figure.panels]
    rows = [max(tall[place : place + columns]) for place in range(0, count, columns)]
    return Sheet(columns, 5.5 if columns == 1 else 7.2, tuple(rows) or (least,))


@contextmanager
def _style() -> Iterator[None]:
    # Over matplotlib's own defaults: nobody's matplotlibrc changes our figures.
    with (
        _style_in_use,
        matplotlib.style.context(["default", _STYLE]),
        warnings.catch_warnings(),
    ):
        # A name in letters that the font lacks: boxes in the PNG, and right in the SVG.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _wanted(panel: Panel | Grid, columns: int) -> float:
    """The inches that the panel's rows of names want, with its title and axis."""
    if panel.y.scale != "category" and isinstance(panel, Panel):
        return 0.0
    return min(sum(row_heights(panel.y, columns)) + 0.9, _TALLEST)


def _lay_out(
    drawing: Drawing,
    figure: Figure,
    looks: Looks,
    panels: Sequence[tuple[Axes, Panel | Grid]],
    sheet: Sheet,
) -> None:
    """Everything has its place, for good, and the drawing the height that this takes."""
    wide, tall = sheet.wide, sum(sheet.rows)
    title = wrapped(figure.title, wide - 2 * _EDGE, SIZE + 1.5)
    caption = wrapped(figure.caption, wide - 2 * _EDGE, SMALL)
    above = height(title, SIZE + 1.5) + 2 * _EDGE if title else _EDGE
    written = height(caption, SMALL) + 2 * _EDGE if caption else _EDGE
    legend = _legend(drawing, figure, looks)
    named = float(legend.get_window_extent().height) / drawing.dpi + _EDGE if legend else 0.0
    shaded = 0.3 if figure.shades else 0.0
    below = written + named + shaded
    whole = above + tall + below
    drawing.set_figheight(whole)
    drawing.text(_EDGE / wide, 1 - _EDGE / whole, title, size=SIZE + 1.5, weight="bold", va="top")
    drawing.text(_EDGE / wide, _EDGE / whole, caption, size=SMALL, color="#404040", va="bottom")
    if legend:
        legend.set_bbox_to_anchor((0.5, (written + shaded) / whole), drawing.transFigure)
    if figure.shades:
        _shade_bar(drawing, figure.shades, (written + 0.05) / whole, whole)
    engine = ConstrainedLayoutEngine(
        rect=(0, below / whole, 1, tall / whole), hspace=0.06, wspace=0.06
    )
    drawing.set_layout_engine(engine)
    # Labels take room from the axes, and wrap by the room that is left: twice is enough.
    for _ in range(2):
        for axes, panel in panels:
            fit_labels(axes, panel, *_inches(axes), name_width(sheet.columns))
        engine.execute(drawing)
    drawing.set_layout_engine("none")


def _legend(drawing: Drawing, figure: Figure, looks: Looks) -> Any:
    """A legend in as many columns as fit the drawing, or None where a name tells nothing."""
    listed = names(figure)
    if not listed:
        return None
    panels = [panel for panel in figure.panels if isinstance(panel, Panel)]
    handles = [legend_handle(name, panels, looks) for name in listed[:_MOST_NAMES]]
    texts = [wrapped(name, 3.0, SMALL) for name in listed[:_MOST_NAMES]]
    if len(listed) > _MOST_NAMES:
        handles.append(Line2D([], [], linestyle="none"))
        texts.append(f"and {len(listed) - _MOST_NAMES} more")
    # A sample of the mark and the spaces about it take half an inch.
    room = drawing.get_figwidth() / (max(width(text, SMALL) for text in texts) + 0.5)
    columns = min(max(int(room), 1), len(texts), 5)
    return drawing.legend(
        _by_rows(handles, columns),
        _by_rows(texts, columns),
        loc="lower center",
        ncols=columns,
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.2,
        columnspacing=1.2,
    )


def _by_rows(entries: Sequence[Any], columns: int) -> list[Any]:
    """Entries in the order that makes matplotlib, which fills columns, fill rows."""
    return [entry for column in range(columns) for entry in entries[column::columns]]


def _shade_bar(drawing: Drawing, shades: tuple[str, str], bottom: float, whole: float) -> None:
    """A small bar of the sequential scale between the names of its two ends."""
    wide = drawing.get_figwidth()
    bar = drawing.add_axes((0.5 - 0.6 / wide, bottom, 1.2 / wide, 0.12 / whole))
    bar.imshow(np.linspace(0, 1, 64)[None, :], cmap=SHADES, aspect="auto")
    bar.set_axis_off()
    for place, text, side in ((-0.05, shades[0], "right"), (1.05, shades[1], "left")):
        bar.text(place, 0.5, text, transform=bar.transAxes, ha=side, va="center", size=SMALL)


def _inches(axes: Axes) -> tuple[float, float]:
    box = axes.get_window_extent()
    dpi = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    return box.width / dpi, box.height / dpi
