"""The figures that a study has, and their numbers, which are those of its tables."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from tests.analysis.made_studies import HARD_NAMES, PLANTS, SHIPPED
from tests.nli import LABELS
from tests.reports.figures.reading import intervals, panel, panels, points, series
from tune_distill.analysis.results import read_results
from tune_distill.analysis.scores import UNPARSED
from tune_distill.analysis.verdict import judge
from tune_distill.reports.drawing.panels import Grid
from tune_distill.reports.figures.study import confusion_figure, metrics_figure

ALWAYS = ("differences", "metrics")
ONE_NUMBER = ("differences", "sensitivity", "metrics")
LAST = ("learning_curves", "confusion")

FIGURES = {
    "smoothing": (*ONE_NUMBER, *LAST),
    "temperature": (*ONE_NUMBER, "pareto", *LAST),
    "data_size": ("differences", "data_scaling", "metrics", *LAST),
    "decoding": (*ALWAYS, "pareto", *LAST),
    "learning_rate": (*ONE_NUMBER, *LAST),
    "sequence_length": (*ALWAYS, "pareto", "truncation", "parallel_coordinates", *LAST),
    "two numbers": (*ALWAYS, "pareto", "parallel_coordinates", *LAST),
    "many settings": (*ALWAYS, "pareto", "parallel_coordinates", *LAST),
    "null": (*ALWAYS, "pareto", *LAST),
    "hard names": (*ALWAYS, *LAST),
    "one setting": ("metrics", *LAST),
    "one complete": ("sensitivity", "metrics", *LAST),
    "no shared seed": ("sensitivity", "metrics", *LAST),
    "all pruned": ("learning_curves",),
    "all failed": (),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_kind_of_study_has_its_figures(studies, name):
    assert [one.name for one in studies.figures(name)] == list(FIGURES[name])


@pytest.mark.parametrize("name", PLANTS)
def test_figures_can_be_read(studies, name):
    figures = studies.figures(name)
    assert len({one.name for one in figures}) == len(figures)
    for one in figures:
        assert "n = " in one.caption
        assert one.panels
        assert one.title.startswith(studies.verdict(name).results.name)
    for shown in panels(figures):
        assert shown.x.label or shown.x.categories
        assert shown.y.label
        for axis in (shown.x, shown.y):
            assert (axis.scale == "category") == bool(axis.categories)
            assert len(set(axis.categories)) == len(axis.categories)


@pytest.mark.parametrize("name", PLANTS)
def test_series_are_whole(studies, name):
    for shown in panels(studies.figures(name)):
        if isinstance(shown, Grid):
            continue
        for one in shown.series:
            assert len(one.x) == len(one.y)
            assert len(one.texts) in (0, len(one.x))
            assert len(one.low) == len(one.high)
            assert len(one.low) == (len(one.x) if one.kind in ("intervals", "band") else 0)
            for axis, values in ((shown.x, one.x), (shown.y, one.y)):
                if axis.categories:
                    assert set(values) <= set(axis.categories)
                else:
                    assert all(math.isfinite(value) for value in values)
                    assert axis.scale != "log" or min(values, default=1) > 0
            assert all(map(math.isfinite, (*one.low, *one.high)))


@pytest.mark.parametrize("name", SHIPPED)
def test_metrics_are_the_levels_and_every_trial(studies, name):
    verdict = studies.verdict(name)
    shown = studies.figure(name, "metrics")
    metrics = {
        "label accuracy": "label_accuracy",
        "ROUGE-1": "rouge1",
        "ROUGE-L": "rougeL",
        "faithfulness": "faithfulness",
        "grounding": "grounding",
        "evaluation loss": "eval_loss",
    }
    # A metric that another figure shows over the same axis is not shown twice.
    alone = {"data_scaling", "sensitivity"} & set(FIGURES[name])
    if alone:
        metrics = {title: metric for title, metric in metrics.items() if metric != verdict.metric}
    assert shown.title == f"{name}: {'the other metrics' if alone else 'every metric'}"
    assert [one.title for one in shown.panels] == list(metrics)
    complete = verdict.results.complete
    column = verdict.results.columns
    numeric = len(column) == 1 and column != ["strategy"]
    for title, metric in metrics.items():
        one = panel(shown, title)
        # `text` and an axis join names of several columns differently, so compare positions.
        seeds = series(one, "one seed", "points")
        # Names are in rows.
        places, values = (seeds.x, seeds.y) if numeric else (seeds.y, seeds.x)
        assert len(places) == len(complete)
        assert list(values) == list(complete[metric])
        assert list(seeds.texts) == [f"seed {seed}" for seed in complete["seed"]]
        if numeric:
            assert list(places) == list(complete[column[0]])
        levels = verdict.found.levels[metric]
        means = series(one, "mean, 95 % interval", "intervals")
        assert [(value, low, high) for value, low, high in intervals(means).values()] == [
            (levels[setting].value, levels[setting].low, levels[setting].high)
            for setting in verdict.results.measured()
        ]
        by_position = pd.Series(values).groupby(pd.Series(places), sort=False).mean()
        assert list(by_position.index) == list(means.x if numeric else means.y)
        # All seeds answered the same examples, so the mean over seeds is the mean of their points.
        if metric != "grounding":
            np.testing.assert_allclose(
                by_position.to_numpy(), means.y if numeric else means.x, rtol=1e-9
            )


@pytest.mark.parametrize(
    "name", [name for name in PLANTS if "differences" in FIGURES.get(name, ())]
)
def test_differences_are_those_of_the_verdict(studies, name):
    verdict = studies.verdict(name)
    shown = studies.figure(name, "differences")
    [one] = shown.panels
    assert one.title == f"Against {verdict.results.text(verdict.results.baseline)}"
    assert [rule.value for rule in one.rules] == [0.0]
    assert len(one.y.categories) == len(verdict.primary)
    groups = [
        ("detectably better", [c for c in verdict.primary if c.better]),
        ("detectably worse", [c for c in verdict.primary if c.worse]),
        ("not detectable", [c for c in verdict.primary if not c.detectable]),
    ]
    assert [s.name for s in one.series if s.kind == "intervals"] == [
        n for n, some in groups if some
    ]
    for group, compared in groups:
        if compared:
            drawn = intervals(series(one, group, "intervals"))
            assert list(drawn.values()) == [
                (c.estimate.value, c.estimate.low, c.estimate.high) for c in compared
            ]
            places = [one.y.categories.index(place) for place in drawn]
            assert places == [verdict.primary.index(c) for c in compared]


def test_a_planted_effect_is_drawn_as_detectable(studies):
    [one] = studies.figure("own baseline", "differences").panels
    assert series(one, "detectably better", "points").y == ("0.1", "0.2")
    [one] = studies.figure("temperature", "differences").panels
    assert series(one, "detectably worse", "points").y == ("1.2",)


@pytest.mark.parametrize("name", ["smoothing", "temperature", "learning_rate", "hard names"])
def test_confusion_counts_are_those_of_the_predictions(studies, name):
    verdict = studies.verdict(name)
    [grid] = studies.figure(name, "confusion").panels
    assert isinstance(grid, Grid)
    complete = verdict.results.complete
    ids = complete.loc[complete["setting"] == verdict.best, "trial_id"]
    answers = pd.read_parquet(verdict.results.folder / "predictions.parquet")
    answers = answers[answers["trial_id"].isin(ids)]
    given = answers["predicted_label"].fillna("unparsed")
    expected = confusion_matrix(answers["gold_label"], given, labels=[*LABELS, UNPARSED])[
        : len(LABELS)
    ]
    assert grid.y.categories == LABELS
    assert grid.x.categories == (*LABELS, UNPARSED)
    counts = [[int(cell.split("\n")[0].replace(",", "")) for cell in row] for row in grid.texts]
    assert np.array_equal(counts, expected)
    np.testing.assert_allclose(grid.values, expected / expected.sum(axis=1, keepdims=True))
    assert grid.title == verdict.results.text(verdict.best)


def test_confusion_leaves_out_an_answer_that_nobody_gave(studies):
    verdict = studies.verdict("smoothing")
    scores = verdict.results.scores
    parsed = dataclasses.replace(scores, answers=scores.answers * [1, 1, 1, 0])
    results = dataclasses.replace(verdict.results)
    results.__dict__["scores"] = parsed
    [grid] = confusion_figure(dataclasses.replace(verdict, results=results)).panels
    assert grid.x.categories == LABELS


def test_parallel_lines_stand_at_their_values(studies):
    verdict = studies.verdict("two numbers")
    shown = studies.figure("two numbers", "parallel_coordinates")
    [one] = shown.panels
    assert one.x.categories == ("learning rate", "batch size", "label accuracy")
    assert [rule.value for rule in one.rules] == list(one.x.categories)
    heights = {1e-4: 0.0, 1e-3: 1.0}, {8: 0.0, 16: 1 / 3, 32: 1.0}
    levels = [level.value for level in verdict.found.levels["label_accuracy"].values()]
    low, high = min(levels), max(levels)
    lines = [line for line in one.series if line.kind == "line"]
    assert len(lines) == 6
    for line, point, level in zip(lines, verdict.results.settings, levels, strict=True):
        share = (level - low) / (high - low)
        assert line.y == (
            heights[0][point["learning_rate"]],
            heights[1][point["batch_size"]],
            pytest.approx(share),
        )
        assert line.shade == pytest.approx(share)
    assert shown.shades == (f"{low:.3f}", f"{high:.3f}")
    ticks = [dict(zip(s.texts, s.y, strict=True)) for s in one.series if s.kind == "points"]
    assert ticks == [
        {"0.0001": 0.0, "0.001": 1.0},
        {"8": 0.0, "16": 1 / 3, "32": 1.0},
        {f"{low:.3f}": 0.0, f"{high:.3f}": 1.0},
    ]


def test_parallel_axes_name_no_more_values_than_are_legible(studies):
    [one] = studies.figure("many settings", "parallel_coordinates").panels
    rate, epochs, _ = [s for s in one.series if s.kind == "points"]
    for shown in (rate, epochs):
        assert (shown.y[0], shown.y[-1]) == (0.0, 1.0)
        assert min(b - a for a, b in itertools.pairwise(shown.y)) >= 0.06
        assert [float(text) for text in shown.texts] == sorted(map(float, shown.texts))


def test_a_search_over_decades_is_parallel_on_a_logarithmic_scale(studies):
    [one] = studies.figure("many settings", "parallel_coordinates").panels
    rate, epochs, _ = [s for s in one.series if s.kind == "points"]
    for shown, scaled in ((rate, np.log10), (epochs, np.asarray)):
        values = scaled([float(text) for text in shown.texts])
        shares = (values - values[0]) / (values[-1] - values[0])
        # Texts have four digits.
        np.testing.assert_allclose(shown.y, shares, atol=1e-3)


def test_names_are_shown_as_they_are_but_for_control_characters(studies):
    verdict = studies.verdict("hard names")
    shown = panel(studies.figure("hard names", "metrics"), "label accuracy")
    names = (*HARD_NAMES[:-1], r"\x1b[31mred\x07")
    assert shown.y.categories == names
    assert points(series(shown, "mean, 95 % interval", "points")) == {
        (level.value, name)
        for name, level in zip(names, verdict.found.levels["label_accuracy"].values(), strict=True)
    }


def test_settings_without_a_complete_trial_are_on_no_axis(studies):
    for one in studies.figure("one complete", "metrics").panels:
        assert set(series(one, "mean, 95 % interval", "points").x) == {0.2}


def test_a_setting_without_a_word_to_ground_has_no_point(studies, tmp_path):
    folder = studies.copy("smoothing", tmp_path)
    trials = pd.read_parquet(folder / "trials.parquet")
    silent = trials["label_smoothing"] == 0.2
    answers = pd.read_parquet(folder / "predictions.parquet")
    answers.loc[answers["trial_id"].isin(trials.loc[silent, "trial_id"]), "grounding"] = None
    answers.to_parquet(folder / "predictions.parquet")
    trials.loc[silent, "grounding"] = None
    trials.to_parquet(folder / "trials.parquet")
    shown = panel(metrics_figure(judge(read_results(folder))), "grounding")
    assert series(shown, "mean, 95 % interval", "points").x == (0.0, 0.1)
    assert len(series(shown, "one seed", "points").x) == 6
