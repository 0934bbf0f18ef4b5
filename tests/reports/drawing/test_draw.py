from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from tests.reports.drawing import made_figures
from tune_distill.reports.drawing.annotations import Box, Room
from tune_distill.reports.drawing.draw import draw, save, sheet_of
from tune_distill.reports.drawing.palette import LIGHT, on_cell
from tune_distill.reports.drawing.panels import Axis, Panel, Series
from tune_distill.spec.errors import StoreError

FIGURES = [
    pytest.param(figure, id=f"{place}-{figure.name}")
    for place, figure in enumerate(made_figures.every_kind())
]


def box_of(artist):
    return artist.get_window_extent()


def overlap(one, other, slack=0.5):
    """Whether two boxes share more than the slack, in pixels, both ways."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > slack and high > slack


def tick_labels(axes):
    """The labels that are shown, of one axis after the other."""
    for axis in (axes.xaxis, axes.yaxis):
        yield [label for label in axis.get_ticklabels() if label.get_text() and axes.axison]


def texts_inside(axes):
    """The annotations: what stands beside points and rules."""
    return [text for text in axes.texts if text.get_text()]


def legend_texts(drawing):
    return [text.get_text() for legend in drawing.legends for text in legend.get_texts()]


@pytest.mark.parametrize("figure", FIGURES)
def test_nothing_is_cut_off(figure):
    drawing = draw(figure)
    whole = drawing.bbox
    artists = [*drawing.texts, *drawing.legends]
    for axes in drawing.axes:
        artists += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        artists += itertools.chain.from_iterable(tick_labels(axes))
    for artist in artists:
        if getattr(artist, "get_text", lambda: "legend")():
            box = box_of(artist)
            assert box.x0 >= -1, artist
            assert box.y0 >= -1, artist
            assert box.x1 <= whole.x1 + 1, artist
            assert box.y1 <= whole.y1 + 1, artist


@pytest.mark.parametrize("figure", FIGURES)
def test_tick_labels_do_not_overlap(figure):
    for axes in draw(figure).axes:
        for labels in tick_labels(axes):
            upright = [label for label in labels if label.get_rotation() in (0, 90)]
            for one, other in itertools.pairwise(upright):
                assert not overlap(box_of(one), box_of(other)), (one, other)


@pytest.mark.parametrize("figure", FIGURES)
def test_panels_legend_and_texts_keep_apart(figure):
    drawing = draw(figure)
    boxes = [axes.get_tightbbox() for axes in drawing.axes]
    boxes += [box_of(artist) for artist in (*drawing.texts, *drawing.legends)]
    boxes = [box for box in boxes if box.width and box.height]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other, slack=1.0)


@pytest.mark.parametrize("figure", FIGURES)
def test_numeric_axes_have_two_labels(figure):
    drawing = draw(figure)
    for axes, panel in zip(drawing.axes, figure.panels, strict=False):
        for labels, axis in zip(tick_labels(axes), (panel.x, panel.y), strict=True):
            if axis.scale != "category":
                assert len(labels) >= 2


def test_annotations_stay_inside_and_off_each_other():
    (axes,) = draw(made_figures.crowd()).axes
    texts = texts_inside(axes)
    assert len(texts) == 14
    for one, other in itertools.combinations(texts, 2):
        assert not overlap(box_of(one), box_of(other)), (one, other)
    frame = axes.get_window_extent()
    for text in texts:
        box = box_of(text)
        assert frame.x0 - 1 <= box.x0 < box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 < box.y1 <= frame.y1 + 1


def test_texts_without_room_are_left_out():
    (axes,) = draw(made_figures.crowd(300)).axes
    texts = texts_inside(axes)
    assert 10 < len(texts) < 300
    for one, other in itertools.combinations(texts, 2):
        assert not overlap(box_of(one), box_of(other))


def test_the_cheapest_free_place_is_taken():
    room = Room(100.0, 100.0, np.array([[15.0, 15.0, 100.0]]))
    first, second = Box(10, 10, 20, 20), Box(30, 10, 40, 20)
    assert room.place([(first, 0.0), (second, 5.0)]) == second
    assert room.place([(second, 0.0), (first, 50.0)]) == first
    assert room.place([(second, 0.0), (Box(95, 0, 105, 10), 0.0)]) is None


def test_a_legend_names_each_series_once():
    assert legend_texts(draw(made_figures.curves())) == ["0.0", "0.1", "0.2"]
    assert legend_texts(draw(made_figures.metrics())) == ["one seed", "mean"]


def test_no_name_no_legend():
    assert draw(made_figures.forest()).legends == []
    assert draw(made_figures.parallel()).legends == []


def test_a_long_legend_says_how_many_more_there_are():
    texts = legend_texts(draw(made_figures.many_names(14)))
    assert set(texts) == {*(f"setting {n}" for n in range(10)), "and 4 more"}
    assert "and" not in " ".join(legend_texts(draw(made_figures.many_names(10))))


def test_a_name_has_one_colour_and_names_differ_in_shape_too():
    drawing = draw(made_figures.curves())
    lines = drawing.axes[0].lines
    assert [to_hex(line.get_color()).upper() for line in lines] == [
        colour for colour in LIGHT[:3] for _ in range(4)
    ]
    assert [line.get_linestyle() for line in lines[:4]] == ["-", "-", "-", "--"]
    assert [line.get_marker() for line in lines[2::4]] == ["o", "s", "v"]
    assert {line.get_marker() for line in lines[:2]} == {"None"}


def test_one_line_beside_points_needs_no_marker():
    panel = made_figures.crowd().panels[0]
    fitted = Series("fit", "line", (1e-5, 1e-4), (0.4, 0.5))
    drawing = draw(made_figures.one(replace(panel, series=(fitted, *panel.series))))
    markers = [line.get_marker() for line in drawing.legends[0].get_lines()]
    assert legend_texts(drawing) == ["fit", "complete", "pruned"]
    assert markers == ["None", "o", "^"]


def test_offsets_move_points_along_the_categories():
    points = draw(made_figures.metrics(1)).axes[0].lines
    assert [list(line.get_xdata()) for line in points[:2]] == [[-0.1, 0.9, 1.9], [0.1, 1.1, 2.1]]


def test_names_of_rows_read_from_the_top():
    (axes,) = draw(made_figures.forest()).axes
    bottom, top = axes.get_ylim()
    assert bottom > top
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert labels[0] == made_figures.LONG[0]
    assert labels[3] == "$x_1$ & <b>"


def test_names_leave_room_for_small_panels():
    panels = made_figures.forest().panels * 4
    drawing = draw(replace(made_figures.forest(), panels=panels))
    for axes in drawing.axes:
        assert axes.get_window_extent().width > 0.25 * drawing.bbox.width


def test_many_names_are_thinned():
    names = tuple(f"setting {n:03d}" for n in range(100))
    (axes,) = draw(made_figures.forest(names)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(names[::2])


def test_texts_in_cells_read_on_light_and_dark():
    (axes,) = draw(made_figures.confusion()).axes
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["100 %"] == on_cell(1.0) == "#FFFFFF"
    assert colours["0 %"] == on_cell(0.0) == "#111111"
    assert len(axes.texts) == 12


def test_shades_have_a_bar_with_two_names():
    _, bar = draw(made_figures.parallel()).axes
    assert [text.get_text() for text in bar.texts] == ["worst", "best"]


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (8, 3, 3)]
)
def test_panels_stand_in_a_grid(count, columns, rows):
    sheet = sheet_of(made_figures.metrics(count))
    assert (sheet.columns, len(sheet.rows)) == (columns, rows)


def test_a_panel_grows_with_its_rows_up_to_a_page():
    heights = [
        sum(sheet_of(made_figures.forest(tuple(f"s{n}" for n in range(count)))).rows)
        for count in (3, 20, 30, 100, 200)
    ]
    assert heights == sorted(heights)
    assert heights[0] < heights[1] < heights[2] < heights[3] == heights[4]


@pytest.mark.parametrize("make", [made_figures.crowd, made_figures.parallel, made_figures.fit])
def test_the_same_figure_gives_the_same_bytes(make, tmp_path):
    first = [path.read_bytes() for path in save(make(), tmp_path / "first")]
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True}):
        second = [path.read_bytes() for path in save(make(), tmp_path / "second")]
    assert first == second


def test_files_are_large_enough_to_print_and_their_texts_are_text(tmp_path):
    png, svg = save(made_figures.forest(), tmp_path / "figures")
    assert [png.name, svg.name] == ["forest.png", "forest.svg"]
    with Image.open(png) as picture:
        assert picture.width == 1100
        assert picture.info.keys() <= {"dpi"}
    assert sorted(path.name for path in png.parent.iterdir()) == [png.name, svg.name]
    texts = [
        "".join(element.itertext())
        for element in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "no difference" in texts
    assert "$x_1$ & <b>" in texts


def test_the_process_keeps_its_own_settings(tmp_path):
    before = dict(matplotlib.rcParams)
    save(made_figures.crowd(), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        save(made_figures.fit(), tmp_path / "file")


def test_what_cannot_be_shown_leaves_a_gap():
    series = Series("", "line", (1.0, 2.0, 3.0), (1.0, 0.0, float("nan")))
    (axes,) = draw(made_figures.one(Panel("", Axis("x"), Axis("y", "log"), (series,)))).axes
    assert list(np.isnan(axes.lines[0].get_ydata())) == [False, True, True]


def test_a_legend_shows_bands_and_diamonds_as_they_are_drawn():
    x, low, high = (1.0, 2.0), (0.0, 1.0), (2.0, 3.0)
    band = Series("range", "band", x, x, low, high, along="x")
    marked = Series("best", "points", x, x, marker="diamond")
    drawing = draw(made_figures.one(Panel("", Axis("x"), Axis("y"), (band, marked))))
    assert legend_texts(drawing) == ["range", "best"]
    assert len(drawing.legends[0].get_patches()) == 1
    assert [line.get_marker() for line in drawing.legends[0].get_lines()] == ["D"]


def test_cells_too_small_for_their_texts_have_none():
    names = tuple(str(n) for n in range(100))
    grid = made_figures.confusion().panels[0]
    wide = replace(
        grid,
        x=Axis("answer", "category", names),
        values=((0.5,) * 100,) * 3,
        texts=(("50 %",) * 100,) * 3,
    )
    assert list(draw(made_figures.one(wide)).axes[0].texts) == []
