import json
import math
import re
from dataclasses import replace

import pytest
import vl_convert

from tests.reports.drawing import made_figures
from tests.reports.drawing.made_figures import LONG
from tune_distill.reports.drawing.axes import Sheet
from tune_distill.reports.drawing.chart_layers import units
from tune_distill.reports.drawing.charts import chart, printed, theme
from tune_distill.reports.drawing.looks import looks_of, with_markers
from tune_distill.reports.drawing.palette import DARK, LIGHT
from tune_distill.reports.drawing.panels import Axis, Panel, Rule, Series

FIGURES = [
    pytest.param(figure, id=f"{place}-{figure.name}")
    for place, figure in enumerate(made_figures.every_kind())
]


def layers(figure, panel=0):
    return list(units(chart(figure)["concat"][panel]["layer"]))


def printed_layers(figure, panel=0):
    return list(units(printed(figure)["concat"][panel]["layer"]))


def mark_type(layer):
    return layer["mark"]["type"]


def of_type(figure, kind):
    return [layer for layer in layers(figure) if mark_type(layer) == kind]


def rows(figure, panel=0):
    return [
        row
        for layer in chart(figure)["concat"][panel]["layer"]
        if not layer.get("name", "").startswith("labels")
        for row in layer.get("data", {}).get("values", [])
        if row
    ]


def names_of(axis):
    """Return the lines of each name."""
    return json.loads(axis["labelExpr"].removesuffix("[datum.value]"))


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
    assert "http" not in json.dumps(printed(figure), allow_nan=False)
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
    drawn = printed_layers(made_figures.curves())
    printed_lines = [layer for layer in drawn if mark_type(layer) == "line"]
    assert [(line["mark"]["strokeWidth"], "strokeDash" in line["mark"]) for line in lines] == [
        (1, False),
        (2, False),
        (2, True),
    ]
    series = {row["series"] for line in printed_lines for row in line["data"]["values"]}
    assert len(series) == 12


def test_lines_go_through_their_points_in_order():
    (line,) = of_type(made_figures.parallel(), "line")
    assert line["encoding"]["order"]["field"] == "order"
    assert line["encoding"]["detail"]["field"] == "series"


def test_the_pointer_reads_numbers_at_points_and_not_along_a_line():
    line, hidden, _ = layers(made_figures.many_names(2))
    assert [entry["field"] for entry in line["encoding"]["tooltip"]] == ["name"]
    assert [entry["field"] for entry in hidden["encoding"]["tooltip"]] == ["name", "x", "y"]
    assert hidden["mark"]["fillOpacity"] == 0
    # Paper has no pointer.
    kinds = [mark_type(layer) for layer in printed_layers(made_figures.many_names(2))]
    assert kinds == ["line", "point"]


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
    names = names_of(encoding["y"]["axis"])
    assert ["".join("".join(lines).split()) for lines in names] == [
        "".join(name.split()) for name in LONG
    ]


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
            [shown] = [v for k, v in layer["encoding"].items() if k.endswith("Opacity")]
            assert shown["condition"]["param"] == choice["name"]
    assert "param" not in json.dumps(printed(made_figures.metrics(3)))


def test_a_name_has_the_same_colour_in_every_panel():
    spec = chart(made_figures.metrics(2))
    domains = [
        layer["encoding"]["color"]["scale"]["domain"]
        for panel in spec["concat"]
        for layer in units(panel["layer"])
    ]
    assert domains == [["mean", " 1", " 2", " 3", " 4", "one seed"]] * len(domains)


def test_colours_and_shapes_have_one_legend_of_the_names():
    for layer in of_type(made_figures.crowd(), "point"):
        colour, shape = layer["encoding"]["color"], layer["encoding"]["shape"]
        assert colour["legend"] == shape["legend"]
        assert colour["legend"]["values"] == ["complete", "pruned"]
        assert colour["scale"]["domain"] == shape["scale"]["domain"]
        assert shape["scale"]["range"] == ["circle", "triangle-up"]


def test_a_line_without_points_is_a_line_in_the_legend():
    assert looks_of(made_figures.fit(), Sheet(1, 100, 100, 120)).shapes == ("stroke",)


def test_lines_of_several_names_have_markers():
    [marked] = [
        layer["data"]["values"]
        for layer in printed_layers(made_figures.curves())
        if mark_type(layer) == "point"
    ]
    assert {row["name"] for row in marked} == {"0.0", "0.1", "0.2"}
    assert {row["x"] for row in marked if row["name"] == "0.1"} == set(range(20, 200, 20))
    # A single line beside points is recognisable as a line.
    panel = made_figures.crowd().panels[0]
    fitted = Series("fit", "line", (1e-5, 1e-4), (0.4, 0.5))
    made = made_figures.one(replace(panel, series=(fitted, *panel.series)))
    assert with_markers(made) == made


def test_texts_of_annotated_points_are_labels_that_keep_off_lines():
    panel = made_figures.crowd().panels[0]
    line = Series("fit", "line", (1e-5, 1e-4), (0.4, 0.5))
    made = made_figures.one(replace(panel, series=(line, *panel.series)))
    halo, label = (layer for layer in layers(made) if layer.get("name", "").startswith("labels"))
    assert (halo["mark"]["style"], label["mark"]["style"]) == ("halo", "label")
    assert halo["data"] == label["data"]
    assert [row["text"] for row in label["data"]["values"]][:12] == [
        f"setting number {place}" for place in range(12)
    ]
    kept_free = [row for row in label["data"]["values"] if not row["text"]]
    assert len(kept_free) == 14
    for row in kept_free:
        # They are on the line as it is drawn, over a logarithmic axis.
        assert row["y"] == pytest.approx(0.4 + 0.1 * (math.log10(row["x"]) + 5))


def test_names_stand_once_in_a_row_of_printed_panels():
    made = printed(replace(made_figures.forest(), panels=made_figures.forest().panels * 4))
    shown = [
        [unit["encoding"]["y"]["axis"].get("labels", True) for unit in units(panel["layer"][1:2])]
        for panel in made["concat"]
    ]
    assert made["columns"] == 2
    assert shown == [[True], [False], [True], [False]]


def test_a_span_is_shaded_and_a_rule_may_stand_at_a_name():
    x = Axis("", "category", ("a", "b"))
    rules = (Rule("x", "b"), Rule("y", 1.0, end=2.0))
    series = Series("", "points", ("a",), (1.5,))
    made = made_figures.one(Panel("", x, Axis("y"), (series,), rules))
    line, span = (layer for layer in layers(made) if layer["data"]["values"] == [{}])
    assert line["mark"]["type"] == "rule"
    assert line["encoding"]["x"]["datum"] == 1.0
    assert span["mark"]["type"] == "rect"
    assert (span["encoding"]["y"]["datum"], span["encoding"]["y2"]["datum"]) == (1.0, 2.0)


def test_a_bare_axis_has_no_numbers():
    series = Series("", "points", (1.0,), (1.0,))
    made = made_figures.one(Panel("", Axis("x"), Axis("y", bare=True), (series,)))
    encoding = layers(made)[0]["encoding"]
    assert encoding["y"]["axis"]["values"] == []
    assert "values" not in encoding["x"]["axis"]


def test_shades_are_named_at_their_ends():
    (line,) = of_type(made_figures.parallel(), "line")
    stroke = line["encoding"]["stroke"]
    assert stroke["legend"]["labelExpr"] == 'datum.value < 0.5 ? "worst" : "best"'
    assert "color" not in line["encoding"]


def test_markers_are_as_asked():
    points = of_type(made_figures.crowd(), "point")
    assert [layer["mark"]["filled"] for layer in points] == [True, False]
    assert points[1]["encoding"]["shape"]["scale"]["range"][1] == "triangle-up"


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


def test_names_that_fit_in_lines_are_not_slanted():
    names = tuple(f"a name of {count} words" for count in range(5))
    [points] = of_type(made_figures.across(names), "point")
    axis = points["encoding"]["x"]["axis"]
    assert axis["labelAngle"] == 0
    assert names_of(axis)[0] == ["a name of 0", "words"]


def test_a_hundred_names_are_thinned():
    names = tuple(f"setting {n:03d}" for n in range(100))
    [points] = of_type(made_figures.forest(names), "point")
    axis = points["encoding"]["y"]["axis"]
    assert axis["values"] == list(range(0, 100, 2))
    assert names_of(axis)[98] == ["setting 098"]


def test_a_panel_grows_with_its_rows_up_to_a_page():
    figures = [made_figures.forest(tuple(map(str, range(n)))) for n in (3, 20, 30, 100, 200)]
    few, some, more, many, most = (chart(figure)["concat"][0]["height"] for figure in figures)
    assert few == 260 < some < more < many == most


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (8, 3)])
def test_printed_panels_stand_in_columns(count, columns):
    made = printed(made_figures.metrics(count))
    assert made["columns"] == columns
    assert columns * made["concat"][0]["width"] <= 520


def test_long_names_leave_room_for_panels():
    assert 210 <= printed(made_figures.forest())["concat"][0]["width"] < 300


def test_the_label_of_a_vertical_axis_stands_above_its_panel():
    [panel] = chart(made_figures.confusion())["concat"]
    assert panel["title"] == {"text": ["gold label"], "fontWeight": "normal", "fontSize": 11}
    panel = chart(made_figures.metrics())["concat"][0]
    assert panel["title"] == {"text": ["metric 0"], "subtitle": ["share"]}


def test_a_printed_figure_says_what_it_is():
    made = printed(replace(made_figures.crowd(), title="Cost", caption="n = 12"))
    assert (made["title"]["text"], made["title"]["subtitle"]) == (["Cost"], ["n = 12"])
    assert made["config"]["background"] == "#FFFFFF"
    # vl_convert includes this font.
    assert made["config"]["font"].startswith("Liberation Sans,")


def test_cells_too_small_for_their_texts_have_none():
    names = tuple(str(n) for n in range(100))
    grid = made_figures.confusion().panels[0]
    wide = replace(
        grid,
        x=Axis("answer", "category", names),
        values=((0.5,) * 100,) * 3,
        texts=(("50 %",) * 100,) * 3,
    )
    sizes = [
        chart(made_figures.one(one))["concat"][0]["layer"][1]["mark"]["fontSize"]
        for one in (grid, wide)
    ]
    assert sizes == [11, 0]


def test_themes_differ_where_they_must():
    light, dark = theme("light"), theme("dark")
    assert light["range"]["category"] == list(LIGHT)
    assert dark["range"]["category"] == list(DARK)
    assert light["axis"]["labelColor"] != dark["axis"]["labelColor"]


def test_a_description_says_what_the_chart_is():
    figure = replace(made_figures.crowd(), title="Cost", caption="n = 12")
    assert chart(figure)["description"] == "Cost. n = 12"
