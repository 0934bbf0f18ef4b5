"""Small figures of every kind, for the tests that draw them."""

from __future__ import annotations

import math

from tune_distill.reports.drawing.panels import Axis, Figure, Grid, Panel, Rule, Series

LONG = (
    "label smoothing 0.1, temperature 0.7, beam 4",
    "google/flan-t5-small@0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
    "greedy decoding with a length penalty of 0.6 and no repeated trigram",
    "$x_1$ & <b>",
    "top-p 0.9",
    "short",
)


def one(panel: Panel | Grid, **parts: object) -> Figure:
    """Return a figure of one panel."""
    given = {"name": "one", "title": "A title", "caption": "n = 3"} | parts
    return Figure(panels=(panel,), **given)


def curves() -> Figure:
    """Return three settings, each with two faint seeds, a mean and a dashed line."""
    steps = tuple(range(10, 200, 10))
    series = []
    for place, name in enumerate(("0.0", "0.1", "0.2")):
        mean = tuple(3 * math.exp(-step / 60) + 0.2 * place for step in steps)
        low, high, later = (tuple(v + shift for v in mean) for shift in (-0.1, 0.1, 0.3))
        series += [
            Series(name, "line", steps, low, faint=True),
            Series(name, "line", steps, high, faint=True),
            Series(name, "line", steps, mean),
            Series(name, "line", steps, later, dashed=True),
        ]
    return one(Panel("", Axis("steps"), Axis("loss"), tuple(series)), name="curves")


def forest(names: tuple[str, ...] = LONG) -> Figure:
    """Return differences with their intervals, a row for each setting."""
    middle = tuple(0.01 * place - 0.02 for place in range(len(names)))
    low, high = tuple(v - 0.03 for v in middle), tuple(v + 0.03 for v in middle)
    series = (
        Series("", "intervals", middle, names, low, high, "x"),
        Series("", "points", middle, names, texts=tuple(f"{v:+.2f}" for v in middle)),
    )
    rules = (Rule("x", 0.0, "no difference"),)
    return one(
        Panel("", Axis("difference"), Axis("", "category", names), series, rules), name="forest"
    )


def crowd(count: int = 12) -> Figure:
    """Return points close to each other with texts, and two pruned ones."""
    x = tuple(10 ** (-5 + place / count) for place in range(count))
    y = tuple(0.5 + 0.01 * (place % 3) for place in range(count))
    texts = tuple(f"setting number {place}" for place in range(count))
    series = (
        Series("complete", "points", x, y, texts=texts, annotated=True),
        Series("pruned", "points", x[:2], (0.4, 0.41), marker="open triangle"),
    )
    rules = (Rule("y", 0.45, "chance"), Rule("x", 2e-5, "default"))
    return one(
        Panel("", Axis("learning rate", "log"), Axis("accuracy"), series, rules), name="crowd"
    )


def confusion() -> Figure:
    """Return a grid of three labels and four answers."""
    labels = ("entailment", "neutral", "contradiction")
    values = ((0.8, 0.1, 0.05, 0.05), (0.2, 0.5, 0.2, 0.1), (0.0, 0.0, 1.0, math.nan))
    texts = tuple(tuple(f"{100 * value:.0f} %" for value in row) for row in values)
    x = Axis("answer", "category", (*labels, "unparsable"))
    return one(Grid("", x, Axis("gold label", "category", labels), values, texts), name="confusion")


def parallel(count: int = 30) -> Figure:
    """Return a line per trial over three axes, coloured by the last."""
    axes = ("learning rate", "smoothing", "accuracy")
    series = tuple(
        Series(f"trial {n}", "line", axes, (n % 7 / 7, n % 5 / 5, n / count), shade=n / count)
        for n in range(count)
    )
    share = Axis("share", limits=(0.0, 1.0))
    return one(
        Panel("", Axis("", "category", axes), share, series),
        name="parallel",
        shades=("worst", "best"),
    )


def metrics(count: int = 8) -> Figure:
    """Return small panels: seeds beside each other, and a mean with its interval."""
    names = ("0.0", "0.1", "0.2")
    mean, low, high = (0.5, 0.6, 0.55), (0.4, 0.5, 0.45), (0.6, 0.7, 0.65)
    series = (
        Series("one seed", "points", names, (0.48, 0.58, 0.5), offset=-0.1, faint=True),
        Series("one seed", "points", names, (0.52, 0.62, 0.6), offset=0.1, faint=True),
        Series("mean", "intervals", names, mean, low, high),
        Series("mean", "points", names, mean),
    )
    x = Axis("label smoothing", "category", names)
    panels = tuple(Panel(f"metric {n}", x, Axis("share"), series) for n in range(count))
    return Figure("metrics", "Every metric", "n = 2 seeds", panels)


def many_names(count: int = 14) -> Figure:
    """Return a figure of more names than a legend can hold."""
    series = tuple(
        Series(f"setting {n}", "line", (0.0, 1.0, 2.0), (n, n + 1.0, n)) for n in range(count)
    )
    return one(Panel("", Axis("x"), Axis("y"), series), name="many_names")


def fit() -> Figure:
    """Return a line with a band over a small range of two log axes, and an empty panel."""
    x, y = (2.1e-5, 2.3e-5, 2.6e-5), (0.00012, 0.00013, 0.00014)
    band = Series("", "band", x, y, tuple(v * 0.9 for v in y), tuple(v * 1.1 for v in y))
    panel = Panel(
        "Fit", Axis("rate", "log"), Axis("loss", "log"), (band, Series("fit", "line", x, y))
    )
    return Figure("fit", "A fit", "", (panel, Panel("Empty", Axis("x"), Axis("y", "log"), ())))


def every_kind() -> list[Figure]:
    """Return a figure of each kind, and extreme ones."""
    hundred = tuple(f"setting {n:03d}" for n in range(100))
    ordinary = [curves(), forest(), crowd(), confusion(), parallel(), metrics(), many_names()]
    return [*ordinary, fit(), forest(hundred), across(hundred), across(LONG)]


def across(names: tuple[str, ...]) -> Figure:
    """Return a figure with names below the panel."""
    series = Series("", "points", names, tuple(float(place) for place in range(len(names))))
    return one(Panel("", Axis("", "category", names), Axis("y"), (series,)), name="across")
