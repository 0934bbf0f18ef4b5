import json
import re
from dataclasses import replace

import pytest
import vl_convert

from tests.reports.drawing import made_figures
from tune_distill.reports.drawing.chart_layers import units
from tune_distill.reports.drawing.charts import chart, chart_library, theme
from tune_distill.reports.drawing.palette import DARK, LIGHT
from tune_distill.reports.drawing.panels import Axis, Panel, Series

FIGURES = [
    pytest.param(figure, id=f"{place}-{figure.name}")
    for place, figure in enumerate(made_figures.every_kind())
]


def layers(figure, panel=0):
    return list(units(chart(figure)["concat"][panel]["layer"]))


def mark_type(layer):
    return layer["mark"]["type"]


def of_type(figure, kind):
    return [layer for layer in layers(figure) if mark_type(layer) == kind]


def rows(figure, panel=0):
    return [
        row
        for layer in chart(figure)["concat"][panel]["layer"]
        for row in layer.get("data", {}).get("values", [])
        if row
    ]


def parameters(figure):
    return [
        parameter
        for panel in chart(figure)["concat"]
        for layer in units(panel["layer"])
        for parameter in layer.get("params", [])
    ]


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_can_be_drawn(figure):
    spec = chart(figure)
    text = json.dumps(spec, allow_nan=False)
    assert "$schema" not in text
    assert "http" not in text
    svg = vl_convert.vegalite_to_svg(spec, config=theme("dark"))
    assert svg.count('class="mark-group role-scope') >= len(figure.panels)


@pytest.mark.parametrize("figure", FIGURES)
def test_colours_of_marks_are_the_page_s(figure):
    if figure.name != "confusion":
        assert re.findall(r"#[0-9A-Fa-f]{6}", json.dumps(chart(figure))) == []


def test_the_numbers_are_inline():
    points = [row for row in rows(made_figures.crowd()) if row["name"] == "complete"]
    assert len(points) == 12
    assert points[0] == {
        "x": 1e-5,
        "y": 0.5,
        "name": "complete",
        "series": 0,
        "order": 0,
        "text": "setting number 0",
    }


def test_series_that_look_alike_share_a_layer():
    lines = of_type(made_figures.curves(), "line")
    assert [(line["mark"]["strokeWidth"], "strokeDash" in line["mark"]) for line in lines] == [
        (1, False),
        (2, False),
        (2, True),
    ]
    assert len({row["series"] for row in rows(made_figures.curves())}) == 12


def test_lines_go_through_their_points_in_order():
    (line,) = of_type(made_figures.parallel(), "line")
    assert line["encoding"]["order"]["field"] == "order"
    assert line["encoding"]["detail"]["field"] == "series"


def test_the_pointer_reads_numbers_at_points_and_not_along_a_line():
    line, hidden = layers(made_figures.many_names(2))
    assert [entry["field"] for entry in line["encoding"]["tooltip"]] == ["name"]
    assert [entry["field"] for entry in hidden["encoding"]["tooltip"]] == ["name", "x", "y"]
    assert hidden["mark"]["opacity"] == 0


def test_the_pointer_reads_texts_names_and_intervals():
    bars, points = (of_type(made_figures.forest(), kind)[-1] for kind in ("rule", "point"))
    titles = [(entry["field"], entry["title"]) for entry in points["encoding"]["tooltip"]]
    assert titles == [("name", "title"), ("text", " "), ("x", "difference"), ("y_name", " ")]
    assert [entry["field"] for entry in bars["encoding"]["tooltip"]][-2:] == ["low", "high"]


def test_intervals_extend_along_their_axis():
    bars = of_type(made_figures.forest(), "rule")[-1]["encoding"]
    assert (bars["x"]["field"], bars["x2"]["field"], bars["y"]["field"]) == ("low", "high", "y")
    upright = of_type(made_figures.metrics(), "rule")[0]["encoding"]
    assert (upright["y"]["field"], upright["y2"]["field"]) == ("low", "high")


def test_categories_lie_at_numbers_under_their_names():
    encoding = of_type(made_figures.forest(), "point")[0]["encoding"]
    assert encoding["y"]["scale"] == {"domain": [-0.5, 5.5], "nice": False, "reverse": True}
    expression = encoding["y"]["axis"]["labelExpr"]
    assert json.loads(expression.removesuffix("[datum.value]")) == list(made_figures.LONG)


def test_a_log_axis_is_one():
    encoding = of_type(made_figures.crowd(), "point")[0]["encoding"]
    assert encoding["x"]["scale"]["type"] == "log"
    assert "type" not in encoding["y"]["scale"]


def test_numeric_axes_can_be_zoomed():
    assert [
        (parameter["name"], parameter["select"]["encodings"])
        for parameter in parameters(made_figures.metrics(2))
        if parameter["bind"] == "scales"
    ] == [("zoom_0", ["y"]), ("zoom_1", ["y"])]
    assert parameters(made_figures.confusion()) == []


def test_a_click_in_the_legend_picks_series_in_all_panels():
    (choice,) = [one for one in parameters(made_figures.metrics(3)) if one["bind"] == "legend"]
    assert choice["select"] == {"type": "point", "fields": ["name"], "toggle": "true"}
    for panel in range(3):
        for layer in layers(made_figures.metrics(3), panel):
            assert layer["encoding"]["opacity"]["condition"]["param"] == choice["name"]


def test_a_name_has_the_same_colour_in_every_panel():
    spec = chart(made_figures.metrics(2))
    domains = [
        layer["encoding"]["color"]["scale"]["domain"]
        for panel in spec["concat"]
        for layer in units(panel["layer"])
    ]
    assert domains == [["one seed", "mean"]] * len(domains)


def test_shades_are_named_at_their_ends():
    (line,) = of_type(made_figures.parallel(), "line")
    stroke = line["encoding"]["stroke"]
    assert stroke["legend"]["labelExpr"] == 'datum.value < 0.5 ? "worst" : "best"'
    assert "color" not in line["encoding"]


def test_markers_are_as_asked():
    points = of_type(made_figures.crowd(), "point")
    shapes = {(layer["mark"]["shape"], layer["mark"]["filled"]) for layer in points}
    assert shapes == {("circle", True), ("triangle-up", False)}


def test_cells_hold_their_texts():
    grid = chart(made_figures.confusion())["concat"][0]
    values = grid["data"]["values"]
    assert len(values) == 12
    assert values[0]["text"] == "80 %"
    assert [(value["colour"], value["ink"]) for value in values[-2:]] == [
        ("#08457E", "#FFFFFF"),
        ("#EFF5FB", "#111111"),
    ]


def test_what_cannot_be_shown_is_null():
    series = Series("", "points", (1.0, 2.0, float("inf")), (1.0, 0.0, 2.0))
    made = made_figures.one(Panel("", Axis("x"), Axis("y", "log"), (series,)))
    assert [(row["x"], row["y"]) for row in rows(made)] == [(1.0, 1.0), (2.0, None), (None, 2.0)]


def test_long_lines_have_no_mark_for_each_point():
    steps = tuple(map(float, range(3000)))
    made = made_figures.one(Panel("", Axis("x"), Axis("y"), (Series("a", "line", steps, steps),)))
    assert [mark_type(layer) for layer in layers(made)] == ["line"]


def test_names_below_a_panel_are_slanted_where_they_are_long():
    def angle(figure):
        (points,) = of_type(figure, "point")
        return points["encoding"]["x"]["axis"]["labelAngle"]

    assert angle(made_figures.across(("a", "b"))) == 0
    assert angle(made_figures.across(made_figures.LONG)) == -35


def test_themes_differ_where_they_must():
    light, dark = theme("light"), theme("dark")
    assert light["range"]["category"] == list(LIGHT)
    assert dark["range"]["category"] == list(DARK)
    assert light["axis"]["labelColor"] != dark["axis"]["labelColor"]


def test_a_description_says_what_the_chart_is():
    figure = replace(made_figures.crowd(), title="Cost", caption="n = 12")
    assert chart(figure)["description"] == "Cost. n = 12"


def test_the_library_names_no_address_but_those_of_xml():
    library = chart_library()
    assert set(re.findall(r"https?://([\w.]+)", library)) == {"www.w3.org"}
    assert "</script" not in library.lower()
    assert "<!--" not in library
    assert chart_library() is library
