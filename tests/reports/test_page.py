import json
import re
from html.parser import HTMLParser

import pytest

from tests.reports.drawing import made_figures
from tests.reports.made_pages import EVIL, example, report, table
from tune_distill.reports.page import (
    Callout,
    ChartBlock,
    CodeBlock,
    Heading,
    Page,
    Paragraph,
    render_page,
)


class Elements(HTMLParser):
    """The elements of a page with their attributes and their text."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.found.append(element)
        if tag not in ("meta", "link", "img", "br"):
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open[-1]["tag"] == tag, f"{self._open[-1]} ends as {tag}"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        wanted = {"tag": tag, **attributes}
        return [one for one in self.found if wanted.items() <= one.items()]

    def texts(self, tag, **attributes):
        return [one["text"].strip() for one in self.all(tag, **attributes)]


def elements(*blocks, **parts):
    given = {"title": "A study", "subtitle": "Three settings"} | parts
    return Elements(render_page(Page(blocks=blocks, **given)))


def embedded(html, name):
    (script,) = Elements(html).all("script", id=name)
    return json.loads(script["text"])


def test_a_page_has_its_title_and_links():
    page = elements(links=(("trials.csv", "trials.csv"),))
    assert page.texts("title") == page.texts("h1") == ["A study"]
    assert [link["href"] for link in page.all("a")] == ["trials.csv"]


def test_headings_are_the_contents_and_no_anchor_is_taken_twice():
    page = elements(
        Heading("Verdict"), Heading("Über", 3), Heading("Verdict"), Heading("charts"), Heading("*")
    )
    anchors = [element["id"] for tag in ("h2", "h3") for element in page.all(tag)]
    links = [link["href"] for link in page.all("a")]
    assert sorted(links) == sorted(f"#{anchor}" for anchor in anchors)
    ids = [element["id"] for element in page.found if "id" in element]
    assert len(ids) == len(set(ids))


def test_one_heading_needs_no_contents():
    assert elements(Heading("Verdict")).all("nav") == []


def test_a_callout_says_what_kind_it_is():
    page = elements(Callout("warning", ("2 trials failed", "out of memory")))
    (callout,) = page.all("div", **{"class": "callout warning"})
    assert callout["text"].split("\n") == ["", "2 trials failed", "out of memory", ""]


def test_cells_know_the_number_they_sort_by():
    page = elements(table())
    assert page.texts("caption") == ["Means"]
    assert page.texts("th") == ["setting", "accuracy"]
    cells = [(cell["text"], cell.get("data-value"), cell.get("class")) for cell in page.all("td")]
    assert cells[:4] == [
        ("b", None, "short"),
        ("0.5 ± 0.1", "0.5", "number"),
        ("a", None, "short"),
        ("", None, "number"),
    ]


def test_headers_can_be_reached_with_the_keyboard():
    assert elements(table()).texts("button", type="button")[1:] == ["setting", "accuracy"]


def test_an_example_has_its_fields_and_tags():
    page = elements(example())
    assert page.texts("dt") == ["premise", "answer"]
    assert page.texts("dd") == ["A man sleeps.", "neutral"]
    assert page.texts("span", **{"class": "tag"}) == ["wrong"]


def test_code_keeps_its_lines():
    assert elements(CodeBlock("one\n  two")).texts("code") == ["one\n  two"]


def test_a_chart_has_its_title_caption_and_numbers():
    figure = made_figures.crowd()
    html = render_page(Page("", "", (ChartBlock(figure),)))
    (spec,) = embedded(html, "page_charts")
    assert spec["columns"] == 1
    page = Elements(html)
    assert len(page.all("div", **{"class": "chart"})) == 1
    assert page.texts("figcaption") == [figure.caption]
    assert embedded(html, "page_themes").keys() == {"light", "dark"}


def test_without_charts_a_page_is_small():
    html = render_page(Page("", "", (Paragraph("text"),)))
    assert len(html) < 30_000
    assert "<noscript>" not in html


def test_a_page_holds_no_address_on_the_network():
    addresses = set(re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", render_page(report())))
    assert addresses == {"http://www.w3.org"}
    assert [element for element in Elements(render_page(report())).found if "src" in element] == []


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_becomes_markup(evil):
    quiet, loud = (render_page(report(text)) for text in ("text", evil))
    tags = [[element["tag"] for element in Elements(html).found] for html in (quiet, loud)]
    assert tags[0] == tags[1]
    assert evil in Elements(loud).texts("p")
    (spec,) = embedded(loud, "page_charts")
    assert evil.strip() in spec["description"]
    assert "\u2028" not in re.findall(r'id="page_charts">(.*?)</script>', loud)[0]


def test_the_same_page_gives_the_same_text():
    assert render_page(report()) == render_page(report())


def test_control_characters_are_shown():
    text = render_page(report("a\x1b[2Jb \u202etxt \udcff"))
    body = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
    assert r"a\x1b[2Jb \u202etxt \udcff" in body
    assert not {"\x1b", "\u202e"} & set(text)
    text.encode("utf-8")
