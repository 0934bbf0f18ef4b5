"""PNG and SVG files: how they are made and how they look."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from PIL import Image

from tests.reports.drawing import made_figures
from tune_distill.reports.drawing.palette import LIGHT
from tune_distill.reports.drawing.panels import Axis, Panel, Series, without_controls
from tune_distill.reports.drawing.pictures import chart_library, save
from tune_distill.spec.errors import StoreError

TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder with a picture of every kind, in the order of their names."""
    folder = tmp_path_factory.mktemp("drawn")
    figures = made_figures.every_kind()
    save([replace(one, name=f"{n:02d}_{one.name}") for n, one in enumerate(figures)], folder)
    return folder


def texts(svg):
    return ["".join(element.itertext()) for element in ElementTree.parse(svg).iter(TEXT)]


def colours(png):
    with Image.open(png) as picture:
        pixels = picture.convert("RGB")
        return {colour for _, colour in pixels.getcolors(pixels.width * pixels.height)}


def rgb(colour):
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def test_every_figure_is_a_file_of_each_kind_with_its_colours(drawn):
    figures = made_figures.every_kind()
    assert [path.name for path in sorted(drawn.iterdir())] == [
        f"{n:02d}_{figure.name}.{suffix}"
        for n, figure in enumerate(figures)
        for suffix in ("png", "svg")
    ]
    for n, figure in enumerate(figures):
        found = colours(drawn / f"{n:02d}_{figure.name}.png")
        assert (255, 255, 255) in found
        if figure.name not in ("confusion", "parallel", "fit"):
            assert rgb(LIGHT[0]) in found
        assert len(found) > 50


def test_pictures_are_large_enough_to_print_and_not_too_wide(drawn):
    for path in drawn.glob("*.png"):
        with Image.open(path) as picture:
            assert 1000 <= picture.width <= 2000
            assert picture.info.keys() <= {"dpi"}
            assert path.stat().st_size < picture.width * picture.height / 5


def test_nothing_lies_outside_the_picture(drawn):
    for path in drawn.glob("*.png"):
        with Image.open(path) as picture:
            edges = [(0, 0, picture.width, 2), (0, 0, 2, picture.height)]
            edges += [
                (0, picture.height - 2, picture.width, picture.height),
                (picture.width - 2, 0, picture.width, picture.height),
            ]
            for edge in edges:
                assert picture.convert("RGB").crop(edge).getextrema() == ((255, 255),) * 3, path


def test_texts_are_texts(drawn):
    found = texts(drawn / "01_forest.svg")
    assert {"no difference", "$x_1$ & <b>", "A title", "n = 3"} <= set(found)
    assert set(texts(drawn / "00_curves.svg")) >= {"0.0", "0.1", "0.2", "steps", "loss"}
    assert set(texts(drawn / "04_parallel.svg")) >= {"worst", "best"}
    assert set(texts(drawn / "07_fit.svg")) >= {"Empty", "no data"}


def test_labels_stand_beside_their_points_and_not_on_each_other(drawn):
    places = []
    for element in ElementTree.parse(drawn / "02_crowd.svg").iter(TEXT):
        if (element.text or "").startswith("setting number") and element.get("opacity") != "0":
            [x, y] = re.findall(r"[-\d.]+", element.get("transform"))
            places.append((element.get("text-anchor"), float(x), float(y), element.text))
    # Each label has a halo of the same text behind it.
    assert len(places) == 2 * len(set(places))
    shown = {text for *_, text in places}
    assert len(shown) >= 9
    boxes = [
        (x - 90 if anchor == "end" else x, y, text) for anchor, x, y, text in sorted(set(places))
    ]
    for x, y, text in boxes:
        assert not [t for ox, oy, t in boxes if t != text and abs(ox - x) < 80 and abs(oy - y) < 9]


def test_the_same_figure_gives_the_same_bytes(drawn, tmp_path):
    paths = save([replace(made_figures.crowd(), name="02_crowd")], tmp_path)
    assert [path.name for path in paths] == ["02_crowd.png", "02_crowd.svg"]
    for path in paths:
        assert path.read_bytes() == (drawn / path.name).read_bytes()


def test_hard_names_are_valid_and_shown_as_they_are(tmp_path):
    names = ("</svg><script>", "a\x1b[31m\x00b", "名前", "line\nend", "&amp;", "\ufffe\uffff")
    figure = replace(made_figures.forest(names), title="\ud800 \x07")
    _, svg = save([without_controls(figure)], tmp_path)
    found = texts(svg)
    assert {"</svg><script>", r"a\x1b[31m\x00b", "名前", "line end", "&amp;"} <= set(found)
    assert r"\ud800 \x07" in found


def test_a_figure_without_numbers_is_a_picture(tmp_path):
    series = Series("", "line", (1.0, 2.0, 3.0), (1.0, 0.0, float("nan")))
    panel = Panel("", Axis("x"), Axis("y", "log"), (series,))
    png, _ = save([made_figures.one(panel)], tmp_path)
    assert (255, 255, 255) in colours(png)
    assert save([], tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        save([made_figures.fit()], tmp_path / "file")


def test_the_process_stays_as_it_is(tmp_path):
    """The renderer takes 100 MB and starts threads that never end, so it has its own process."""
    script = (
        "import os, sys, pathlib\n"
        "from tests.reports.drawing import made_figures\n"
        "from tune_distill.reports.drawing.pictures import save\n"
        "before = os.listdir('/proc/self/task')\n"
        f"save([made_figures.fit()], pathlib.Path({str(tmp_path)!r}))\n"
        "assert os.listdir('/proc/self/task') == before\n"
        "assert 'vl_convert' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_library_names_no_address_but_those_of_xml():
    library = chart_library()
    assert set(re.findall(r"https?://([\w.]+)", library)) == {"www.w3.org"}
    assert "</script" not in library.lower()
    assert "<!--" not in library
    assert chart_library() is library
