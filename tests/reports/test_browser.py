"""The report's page works in a real browser without a network."""

import pytest

from tests.reports.browser import needs_browser, visit
from tests.reports.drawing import made_figures
from tests.reports.made_pages import EVIL, report, table
from tune_distill.reports.page import ChartBlock, Page, render_page

pytestmark = [needs_browser, pytest.mark.slow]

DRAWN = """
  return {
    charts: document.querySelectorAll(".chart svg").length,
    text: getComputedStyle(document.querySelector(".chart .role-axis-label text")).fill,
    page: getComputedStyle(document.body).backgroundColor,
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    button: document.getElementById("page_scheme").textContent,
    labels: [...document.querySelectorAll(".mark-text text[text-anchor=start]")]
      .map((one) => one.textContent).filter((text) => text.startsWith("setting number")),
  };
"""


@pytest.fixture(scope="module")
def figures_page():
    blocks = tuple(ChartBlock(figure) for figure in made_figures.every_kind())
    return render_page(Page("Figures", "", (*blocks, table())))


def test_all_charts_are_drawn_and_nothing_is_said(figures_page, tmp_path):
    light = visit(figures_page, DRAWN, tmp_path)
    assert light.console == []
    assert light.seen["charts"] == len(made_figures.every_kind())
    assert light.seen["button"] == "Dark"
    # Texts are beside their points, not on them.
    assert "setting number 0" in light.seen["labels"]
    assert light.seen["page"] == "rgb(255, 255, 255)"
    assert light.seen["text"] == "rgb(51, 51, 51)"


def test_a_dark_reader_has_a_dark_page(figures_page, tmp_path):
    dark = visit(figures_page, DRAWN, tmp_path, dark=True)
    assert dark.console == []
    assert dark.seen["charts"] == len(made_figures.every_kind())
    assert dark.seen["page"] == "rgb(21, 24, 28)"
    assert dark.seen["text"] == "rgb(213, 217, 222)"
    assert dark.seen["button"] == "Light"


def test_the_button_changes_page_and_charts(figures_page, tmp_path):
    click = """
      document.getElementById("page_scheme").click();
      await new Promise((done) => setTimeout(done, 2000));
    """
    changed = visit(figures_page, click + DRAWN, tmp_path)
    assert changed.console == []
    assert changed.seen["page"] == "rgb(21, 24, 28)"
    assert changed.seen["text"] == "rgb(213, 217, 222)"


def test_a_narrow_page_does_not_scroll_sideways(figures_page, tmp_path):
    narrow = visit(figures_page, DRAWN, tmp_path, width=500)
    assert narrow.console == []
    assert narrow.seen["overflow"] <= 0


def test_a_click_sorts_and_another_turns_round(tmp_path):
    script = """
      const rows = () => [...document.querySelectorAll("tbody tr")];
      const headers = [...document.querySelectorAll("th")];
      const look = (column) => ({
        cells: rows().map((row) => row.cells[column].textContent),
        sorts: headers.map((header) => header.getAttribute("aria-sort")),
      });
      const seen = [];
      for (const column of [1, 1, 0]) {
        headers[column].querySelector("button").click();
        seen.push(look(column));
      }
      return seen;
    """
    up, down, names = visit(render_page(Page("", "", (table(),))), script, tmp_path).seen
    # "0.5 ± 0.1" and "10 %" sort by their values.
    assert up["cells"] == ["1e-3", "10 %", "0.25", "0.5 ± 0.1", ""]
    assert up["sorts"] == [None, "ascending"]
    assert down["cells"] == ["0.5 ± 0.1", "0.25", "10 %", "1e-3", ""]
    assert down["sorts"] == [None, "descending"]
    assert names["cells"] == ["a", "a9", "a10", "b", ""]
    assert names["sorts"] == ["ascending", None]


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_runs(evil, tmp_path):
    script = """
      const drawn = document.querySelectorAll(".chart svg").length;
      return [document.title, document.images.length, drawn];
    """
    seen = visit(render_page(report(evil)), script, tmp_path)
    assert seen.console == []
    # A browser's title has no line ends.
    assert seen.seen[0].split() == evil.split()
    assert seen.seen[1:] == [0, 1]
